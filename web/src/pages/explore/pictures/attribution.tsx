/* Attribution: what each touch is owed, in how many conversions, of how many customers. */
import type { Answer, QueryJson } from '../../../api/query';
import { people, percent } from '../../../format';
import { t } from '../../../texts';
import { amountWriter, groupName } from './cells';

const MOST = 60;

export function Attribution({ answer, json }: { answer: Answer; json: QueryJson }) {
  const words = t.explore.attribution;
  const first = answer.columns.length - 3; // amount, conversions, customers stand last
  const rows = answer.rows.slice(0, MOST);
  const amount = (row: (typeof rows)[number]): number => Number(row[first] ?? 0);
  const sum = answer.rows.reduce((all, row) => all + amount(row), 0) || 1;
  const untouched = (row: (typeof rows)[number]): boolean => row.slice(0, first).every((value) => value === null);
  const most = Math.max(...rows.filter((row) => !untouched(row)).map(amount), 0) || 1; // touches beside one another
  const write = amountWriter((json['measure'] as { property?: string } | undefined)?.property);
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label={words.label}>
      <table class="table owed">
        <caption class="hidden-text">{words.label}</caption>
        <thead>
          <tr>
            <th scope="col">{answer.columns[0]?.name}</th>
            <th scope="col" class="num">{words.amount}</th>
            <th scope="col" class="num">{t.explore.share}</th>
            <th scope="col" aria-hidden="true" />
            <th scope="col" class="num">{words.conversions}</th>
            <th scope="col" class="num">{t.explore.customers}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => {
            const none = untouched(row);
            return (
              <tr key={i}>
                <th scope="row" class={none ? 'muted' : ''}>{none ? words.none : groupName(row.slice(0, first), answer.columns)}</th>
                <td class="num">
                  <strong>{row[first] === null ? people(null) : write(amount(row))}</strong>
                </td>
                <td class="num muted">{row[first] === null ? '' : percent(amount(row) / sum)}</td>
                <td class="how-much" aria-hidden="true">
                  {!none && (
                    <span class="bar">
                      <i style={{ width: `${(Math.max(0, amount(row)) / most) * 100}%` }} />
                    </span>
                  )}
                </td>
                <td class="num">{people(row[first + 1] as number | null)}</td>
                <td class="num">{people(row[first + 2] as number | null)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {rows.length < answer.rows.length && <p class="notice">{t.explore.groupsCut(rows.length, answer.rows.length)}</p>}
    </div>
  );
}
