/* Recency, frequency, value: a row a class of recency, the latest on top; a column a class of
 * frequency; the darker the more customers. Value by choice. */
import { useState } from 'preact/hooks';
import { at, type Answer, type Cell, type QueryJson } from '../../../api/query';
import { count, money, people } from '../../../format';
import { t } from '../../../texts';
import { Who } from '../../../ui/who';

interface Distance {
  n: number;
  unit: string;
}

interface Square {
  customers: number | null; // null: too few to be told to this reader
  amount: number | null;
  rows: Cell[][]; // one a class of value
}

/* What the classes 1 to n + 1 between the numbers mean. */
const between = (marks: number[], write: (n: number) => string): string[] =>
  [...marks, Infinity].map((mark, i) => (i === 0 ? t.explore.rfm.below(write(mark)) : mark === Infinity ? t.explore.rfm.from(write(marks[i - 1] ?? 0)) : t.explore.rfm.between(write(marks[i - 1] ?? 0), write(mark))));

/* Of whole numbers: 1, 2 to 3, 4 or more. */
const howOften = (marks: number[]): string[] =>
  [...marks, Infinity].map((mark, i) => {
    const from = Math.max(1, marks[i - 1] ?? 1);
    if (mark === Infinity) return t.explore.rfm.from(count(from));
    return mark - 1 <= from ? count(from) : t.explore.rfm.through(count(from), count(mark - 1));
  });

const sum = (a: number | null, b: number | null): number | null => (a === null || b === null ? null : a + b);

function add(to: Square | undefined, customers: number | null, amount: number | null, row: Cell[]): Square {
  if (!to) return { customers, amount, rows: [row] };
  return { customers: sum(to.customers, customers), amount: sum(to.amount, amount), rows: [...to.rows, row] };
}

export function Rfm({ answer, json }: { answer: Answer; json: QueryJson }) {
  const words = t.explore.rfm;
  const [value, choose] = useState(0); // 0: all
  const distances = json['recency'] as Distance[];
  const often = howOften(json['frequency'] as number[]);
  const worth = between(json['value'] as number[], (n) => money(n));
  const recency = [words.longer, ...[...distances].reverse().map((distance) => words.within(distance.n, distance.unit))];
  const cells = new Map<string, Square>();
  for (const row of answer.rows) {
    const number = (name: string): number | null => row[at(answer, name)] as number | null;
    if (value && number('value') !== value) continue;
    const key = `${number('recency')} ${number('frequency')}`;
    cells.set(key, add(cells.get(key), number('customers'), number('amount'), row));
  }
  const most = Math.max(1, ...[...cells.values()].map((cell) => cell.customers ?? 0));
  return (
    <div class="stack">
      <label class="row">
        <span class="muted">{words.value}</span>
        <select class="input" value={value} onChange={(event) => choose(Number(event.currentTarget.value))}>
          <option value={0}>{words.any}</option>
          {worth.map((text, i) => (
            <option key={text} value={i + 1}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <div class="scroll-x" tabIndex={0} role="region" aria-label={words.label}>
        <table class="triangle rfm">
          <caption class="hidden-text">{words.label}</caption>
          <thead>
            <tr>
              <td />
              {often.map((text) => (
                <th key={text} scope="col">
                  {words.times(text)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {recency
              .map((text, i) => ({ text, level: i + 1 }))
              .reverse()
              .map(({ text, level }) => (
                <tr key={level}>
                  <th scope="row">{text}</th>
                  {often.map((_, f) => {
                    const cell = cells.get(`${level} ${f + 1}`);
                    if (!cell) return <td key={f} class="heat" style={{ '--part': '0' }} aria-label={words.nobody} />;
                    return (
                      <td key={f} class="heat" style={{ '--part': ((cell.customers ?? 0) / most).toFixed(3) }}>
                        {cell.customers === null ? (
                          <strong>{people(null)}</strong>
                        ) : (
                          <Who answer={answer} rows={cell.rows}>
                            <strong>{count(cell.customers)}</strong>
                          </Who>
                        )}
                        {cell.amount !== null && <small>{money(cell.amount)}</small>}
                      </td>
                    );
                  })}
                </tr>
              ))}
          </tbody>
        </table>
      </div>
      <p class="muted">{words.note}</p>
    </div>
  );
}
