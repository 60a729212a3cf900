/* What tells two sets of customers apart: for each fact its share of both, back to back. */
import { useState } from 'preact/hooks';
import { at, type Answer, type Cell } from '../../../api/query';
import { count, NONE, people, percent } from '../../../format';
import { t } from '../../../texts';
import { groupName } from './cells';
import { Who, WhoFits } from '../../../ui/who';

const SHOWN = 30;

function Fact({ row, answer, most }: { row: Cell[]; answer: Answer; most: number }) {
  const words = t.explore.compare;
  const number = (name: string): number | null => row[at(answer, name)] as number | null;
  const text = (name: string): string => groupName([row[at(answer, name)] ?? null], [answer.columns[at(answer, name)]!]);
  const kind = text('kind');
  const side = (which: 'a' | 'b') => {
    const rate = number(`${which}_rate`);
    return (
      <span class={`side-${which}`} title={words.of(people(number(`${which}_customers`)), people(number(`${which}_size`)))}>
        <span class="bar" aria-hidden="true">
          <i style={{ width: `${((rate ?? 0) / most) * 100}%` }} />
        </span>
        {rate === null ? (
          NONE
        ) : (
          <Who answer={answer} row={row} column={`${which}_customers`}>
            <strong>{percent(rate)}</strong>
          </Who>
        )}
      </span>
    );
  };
  const lift = number('lift');
  return (
    <tr>
      <th scope="row">
        {kind === 'trait' ? words.is(text('name'), text('value')) : kind === 'has trait' ? words.has(text('name')) : words.did(text('name'))}
      </th>
      <td>{side('a')}</td>
      <td>{side('b')}</td>
      <td class="num muted">{lift === null ? NONE : words.lift(count(Math.round(lift * 10) / 10))}</td>
    </tr>
  );
}

export function Compare({ answer, names }: { answer: Answer; names: [string, string] }) {
  const words = t.explore.compare;
  const [all, show] = useState(false);
  const rows = all ? answer.rows : answer.rows.slice(0, SHOWN);
  const rates = answer.rows.flatMap((row) => ['a_rate', 'b_rate'].map((name) => Number(row[at(answer, name)] ?? 0)));
  const size = (name: string, side: string) => {
    const n = answer.rows[0]?.[at(answer, name)] as number | null | undefined;
    const where = conditionOf(side);
    return where === null ? people(n) : <WhoFits n={n ?? null} where={where} />;
  };
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label={words.label}>
      <table class="compare">
        <caption class="hidden-text">{words.label}</caption>
        <thead>
          <tr>
            <th scope="col">{words.fact}</th>
            <th scope="col" class="side-a">
              <code>{names[0]}</code> {size('a_size', names[0])}
            </th>
            <th scope="col">
              <code>{names[1]}</code> {size('b_size', names[1])}
            </th>
            <th scope="col" class="num">
              {words.times}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <Fact key={i} row={row} answer={answer} most={Math.max(...rates) || 1} />
          ))}
        </tbody>
      </table>
      {rows.length < answer.rows.length && (
        <p class="row more">
          <button type="button" class="button small" onClick={() => show(true)}>
            {t.common.showAll(answer.rows.length)}
          </button>
        </p>
      )}
    </div>
  );
}

/* Who is on a side, as a condition; null of the others. */
function conditionOf(side: string): string | null {
  if (side === 'customers') return '';
  if (side.startsWith('segment ')) return `in ${side}`;
  return side.startsWith('customers where ') ? side.slice(16) : null;
}

/* The two sides as the canonical question writes them. */
export function sidesOf(query: string): [string, string] {
  const plain = query.replace(/"(?:[^"\\]|\\.)*"/g, (text) => 'x'.repeat(text.length));
  const ends = /\s(with at least|since|before|from|during|on|in\s+\d|among|limit)\s/;
  const cut = plain.search(/\swith\s(segment|customers|others)/);
  if (!plain.startsWith('compare ') || cut < 0) return ['A', 'B'];
  const behind = plain.slice(cut + 6);
  const end = /^customers where/.test(behind) ? behind.length : Math.max(0, behind.search(ends)) || behind.length;
  return [query.slice(8, cut), query.slice(cut + 6, cut + 6 + end)];
}
