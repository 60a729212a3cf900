/* Retention: a row a cohort, a column a period, the darker the more came back. */
import { at, type Answer, type Cell } from '../../../api/query';
import { count, NONE, people, percent, plainDay } from '../../../format';
import { t } from '../../../texts';
import { useGroup } from './groups';
import { Who } from '../../../ui/who';

interface Cohort {
  name: string;
  size: number | null; // null: too few to be told to this reader
  rates: (number | undefined)[];
  people: (number | undefined)[];
  rows: Cell[][];
}

function cohorts(rows: Cell[][], first: number): Cohort[] {
  const found = new Map<string, Cohort>();
  for (const row of rows) {
    const [name, period, size, customers, rate] = row.slice(first) as [string, number, number | null, number | null, number | null];
    const cohort = found.get(name) ?? { name, size, rates: [], people: [], rows: [] };
    cohort.rates[period] = rate ?? undefined;
    cohort.people[period] = customers ?? undefined;
    cohort.rows[period] = row;
    found.set(name, cohort);
  }
  return [...found.values()];
}

/* The weighted mean of each period, over the cohorts for which it is known. */
function mean(all: Cohort[], period: number): number | undefined {
  const known = all.filter((cohort) => cohort.rates[period] !== undefined && cohort.size !== null);
  const size = known.reduce((sum, cohort) => sum + (cohort.size ?? 0), 0);
  return size ? known.reduce((sum, cohort) => sum + (cohort.people[period] ?? 0), 0) / size : undefined;
}

/* Of one cohort, or of all together: nobody is in two. */
function Size({ answer, size, rows }: { answer: Answer; size: number | null; rows: Cohort[] }) {
  if (size === null) return <>{rows.length > 1 ? NONE : people(null)}</>;
  return (
    <Who answer={answer} rows={rows.map((cohort) => cohort.rows.find(Boolean) ?? [])} column="size">
      {count(size)}
    </Who>
  );
}

export function Retention({ answer, unit }: { answer: Answer; unit: string }) {
  const first = at(answer, 'cohort');
  const { rows, choice } = useGroup(answer, 0, first);
  const all = cohorts(rows, first);
  const periods = Math.max(0, ...all.map((cohort) => cohort.rates.length));
  const strongest = Math.max(0.0001, ...all.flatMap((cohort) => cohort.rates.slice(1).map((rate) => rate ?? 0)));
  const cell = (rate: number | undefined, period: number, who?: number, row?: Cell[]) => {
    if (rate === undefined) return <td key={period} />;
    const strength = period === 0 ? 0 : Math.min(1, rate / strongest);
    return (
      <td key={period} class="heat" style={{ '--part': strength.toFixed(3) }} title={who === undefined ? undefined : count(who)}>
        {row ? (
          <Who answer={answer} row={row}>
            {percent(rate)}
          </Who>
        ) : (
          percent(rate)
        )}
      </td>
    );
  };
  return (
    <div class="stack">
      {choice}
      <div class="scroll-x" tabIndex={0} role="region" aria-label={t.explore.retentionLabel}>
        <table class="triangle">
          <caption class="hidden-text">{t.explore.retentionLabel}</caption>
          <thead>
            <tr>
              <th scope="col">{t.explore.cohort}</th>
              <th scope="col" class="num">
                {t.explore.size}
              </th>
              {Array.from({ length: periods }, (_, i) => (
                <th key={i} scope="col">
                  <span class="hidden-text">{t.explore.period(unit, i)}</span>
                  <span aria-hidden="true">{i ? i : t.explore.period(unit, 0)}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {all.map((cohort) => (
              <tr key={cohort.name}>
                <th scope="row">{plainDay(cohort.name)}</th>
                <td class="num">
                  <Size answer={answer} size={cohort.size} rows={[cohort]} />
                </td>
                {Array.from({ length: periods }, (_, i) => cell(cohort.rates[i], i, cohort.people[i], cohort.rows[i]))}
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">{t.explore.all}</th>
              <td class="num">
                <Size answer={answer} size={all.some((cohort) => cohort.size === null) ? null : all.reduce((sum, cohort) => sum + (cohort.size ?? 0), 0)} rows={all} />
              </td>
              {Array.from({ length: periods }, (_, i) => cell(mean(all, i), i))}
            </tr>
          </tfoot>
        </table>
      </div>
    </div>
  );
}
