/* Which picture an answer gets: by the form of its question. */
import { at, type Answer, type QueryJson } from '../../../api/query';
import { Stat } from '../../../ui/parts';
import { countsPeople, Who } from '../../../ui/who';
import { Attribution } from './attribution';
import { Bars } from './bars';
import { AnswerTable, text } from './cells';
import { Compare, sidesOf } from './compare';
import { Funnel } from './funnel';
import { Lifecycle } from './lifecycle';
import { Paths } from './paths';
import { Retention } from './retention';
import { Rfm } from './rfm';
import { PERIODS, Trend } from './trend';

/* How many of the last columns are numbers over time: measures; of sessions and repeat, those behind the splits. */
function measuresOf(answer: Answer, json: QueryJson): number {
  if (Array.isArray(json['measures'])) return json['measures'].length;
  return answer.columns.filter((column) => column.type === 'integer' || column.type === 'number').length;
}

export function hasPicture(answer: Answer, form: string): boolean {
  return answer.rows.length > 0 && form !== 'list';
}

/* One row of numbers, large. */
function Numbers({ answer, form }: { answer: Answer; form: string }) {
  const row = answer.rows[0] ?? [];
  return (
    <div class="grid stats">
      {answer.columns.map((column, i) => {
        const value = text(row[i] ?? null, column);
        const opens = row[i] !== null && countsPeople(form, column.name);
        return <Stat key={column.name} what={column.name} value={opens ? <Who answer={answer} row={row} column={column.name}>{value}</Who> : value} />;
      })}
    </div>
  );
}

export function Picture({ answer, json }: { answer: Answer; json: QueryJson }) {
  const first = answer.columns[0];
  switch (json.form) {
    case 'funnel':
      return <Funnel answer={answer} />;
    case 'retention':
      return <Retention answer={answer} unit={String(json['period'] ?? '')} />;
    case 'paths':
      return <Paths answer={answer} />;
    case 'rfm':
      return <Rfm answer={answer} json={json} />;
    case 'lifecycle':
      return <Lifecycle answer={answer} />;
    case 'compare':
      return <Compare answer={answer} names={sidesOf(answer.query)} />;
    case 'attribute':
      return <Attribution answer={answer} json={json} />;
    case 'top':
      return <Bars answer={answer} value={1} />;
    case 'count':
      return answer.columns.length > 1 ? <Bars answer={answer} value={at(answer, 'customers')} /> : <Numbers answer={answer} form={json.form} />;
    default:
      if (first && PERIODS.includes(first.name) && answer.rows.length > 1) return <Trend answer={answer} form={json.form} measures={measuresOf(answer, json)} />;
      return answer.rows.length === 1 ? <Numbers answer={answer} form={json.form} /> : <AnswerTable answer={answer} form={json.form} />;
  }
}

export { AnswerTable };
