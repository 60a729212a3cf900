/* Values with a number each: bars, the largest first as the answer has them. */
import type { Answer } from '../../../api/query';
import { people, percent } from '../../../format';
import { t } from '../../../texts';
import { groupName } from './cells';
import { Who } from '../../../ui/who';

const MOST = 60;

/* Labels are the columns before `value`. */
export function Bars({ answer, value }: { answer: Answer; value: number }) {
  const rows = answer.rows.slice(0, MOST);
  const number = (row: (typeof rows)[number]): number => Number(row[value] ?? 0);
  const most = Math.max(0, ...rows.map(number)) || 1;
  const sum = answer.rows.reduce((all, row) => all + number(row), 0) || 1;
  return (
    <ol class="lines bars">
      {rows.map((row, i) => (
        <li key={i}>
          <span class={row[0] === null ? 'clip muted' : 'clip'}>{groupName(row.slice(0, value), answer.columns)}</span>
          <span class="bar" aria-hidden="true">
            <i style={{ width: `${(Math.max(0, number(row)) / most) * 100}%` }} />
          </span>
          <span class="num">
            {answer.columns[value]?.name === 'customers' ? (
              <Who answer={answer} row={row} column="customers">
                <strong>{people(row[value] as number | null)}</strong>
              </Who>
            ) : (
              <strong>{people(row[value] as number | null)}</strong>
            )}
            <span class="muted" title={t.explore.share}>
              {row[value] === null ? '' : percent(number(row) / sum)}
            </span>
          </span>
        </li>
      ))}
    </ol>
  );
}
