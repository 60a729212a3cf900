/* A table of rows: numbers to the right, sorted by a click, at most `limit` rows until asked. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { t } from '../texts';
import { useOnPaper } from './theme';

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ComponentChildren;
  number?: boolean;
  brief?: boolean; // stays on one line
  wide?: boolean; // left out on a phone: it stands on the row's own page
  sort?: (row: Row) => number | string | null;
}

interface TableProps<Row> {
  caption: string;
  columns: Column<Row>[];
  rows: readonly Row[];
  rowKey: (row: Row, index: number) => string | number;
  onRow?: (row: Row) => void;
  limit?: number;
}

const PAPER_ROWS = 5000; // some hundred sheets

type Order = { column: number; down: boolean } | null;

function ordered<Row>(rows: readonly Row[], columns: Column<Row>[], order: Order): readonly Row[] {
  const by = order && columns[order.column]?.sort;
  if (!order || !by) return rows;
  return [...rows].sort((a, b) => {
    const x = by(a);
    const y = by(b);
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1; // what is missing, last
    const less = typeof x === 'string' || typeof y === 'string' ? String(x).localeCompare(String(y)) : x - y;
    return order.down ? -less : less;
  });
}

const classOf = <Row,>(column: Column<Row>): string => `${column.number ? 'num' : column.brief ? 'brief' : ''}${column.wide ? ' wide' : ''}`;

export function Table<Row>({ caption, columns, rows, rowKey, onRow, limit = 200 }: TableProps<Row>) {
  const [order, setOrder] = useState<Order>(null);
  const [all, showAll] = useState(false);
  const paper = useOnPaper();
  const sorted = ordered(rows, columns, order);
  const shown = all ? sorted : sorted.slice(0, paper ? Math.max(limit, PAPER_ROWS) : limit);
  const turn = (i: number) =>
    setOrder((was) => (was?.column === i ? (was.down === !!columns[i]?.number ? { column: i, down: !was.down } : null) : { column: i, down: !!columns[i]?.number }));
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label={caption}>
      <table class="table">
        <caption class="hidden-text">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th key={i} scope="col" class={`${classOf(column)} clip`} aria-sort={order?.column === i ? (order.down ? 'descending' : 'ascending') : undefined}>
                {column.sort ? (
                  <button type="button" onClick={() => turn(i)}>
                    {column.title}
                    {order?.column === i && <span aria-hidden="true">{order.down ? ' ↓' : ' ↑'}</span>}
                  </button>
                ) : (
                  column.title
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, i) => (
            <tr key={rowKey(row, i)} class={onRow ? 'acts' : ''} onClick={onRow && ((event) => (event.target as Element).closest('a,button,input,select') || onRow(row))}>
              {columns.map((column, c) => (
                <td key={c} class={classOf(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < rows.length && (
        <p class="row more">
          <button type="button" class="button small" onClick={() => showAll(true)}>
            {t.common.showAll(rows.length)}
          </button>
        </p>
      )}
    </div>
  );
}
