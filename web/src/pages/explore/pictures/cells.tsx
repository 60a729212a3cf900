/* A value of an answer, as its column's type and name ask for. */
import type { Answer, AnswerColumn, Cell } from '../../../api/query';
import { count, duration, moment, money, NONE, percent, plainDay } from '../../../format';
import { href } from '../../../router';
import { t } from '../../../texts';
import { Table, type Column } from '../../../ui/table';
import { countsPeople, Who } from '../../../ui/who';

export function text(value: Cell, column: AnswerColumn): string {
  if (value === null) return NONE;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') {
    if (column.name === 'rate') return percent(value);
    if (column.name.endsWith('_seconds')) return duration(value);
    return count(value);
  }
  if (column.type === 'date') return plainDay(value);
  if (column.type === 'time') return moment(value);
  return value;
}

/* Sums of what is called so are money; of anything else, numbers. */
export const amountWriter = (property: string | undefined): ((n: number) => string) => (property && /(^|[._])(revenue|price|amount|spent)$/i.test(property) ? (n) => money(n) : count);

/* What a split's group is called. */
export const groupName = (values: Cell[], columns: AnswerColumn[]): string =>
  values.map((value, i) => (value === null ? t.explore.none : text(value, columns[i] as AnswerColumn))).join(' · ');

const isNumber = (column: AnswerColumn): boolean => column.type === 'number' || column.type === 'integer';

/* `form`: of the question, so that numbers of people open. */
export function AnswerTable({ answer, form }: { answer: Answer; form: string }) {
  const columns = answer.columns.map((column, i): Column<Cell[]> => {
    const person = i === 0 && column.name === 'customer';
    return {
      title: column.name,
      number: isNumber(column),
      sort: (row) => (typeof row[i] === 'boolean' ? String(row[i]) : (row[i] as string | number | null)),
      cell: (row) => {
        const value = row[i] ?? null;
        if (person && typeof value === 'string') return <a href={href('customers', [value])}>{value}</a>;
        if (value !== null && column.type === 'integer' && countsPeople(form, column.name)) return <Who answer={answer} row={row} column={column.name}>{text(value, column)}</Who>;
        return value === null ? <span class="muted">{NONE}</span> : text(value, column);
      },
    };
  });
  return <Table caption={answer.query} columns={columns} rows={answer.rows} rowKey={(_, i) => i} />;
}
