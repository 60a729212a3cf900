/* A trend: a chart for each measure, a line for each group. */
import { useMemo } from 'preact/hooks';
import type { Answer, Cell } from '../../../api/query';
import { t } from '../../../texts';
import { Chart, type Pick, type Series } from '../../../ui/chart';
import { countsPeople, openPeople } from '../../../ui/who';
import { groupName } from './cells';

export const PERIODS = ['hour', 'day', 'week', 'month', 'quarter', 'year'];
const MOST_GROUPS = 8;

export interface Lines {
  measure: string;
  times: number[];
  series: Series[];
  rows: (Cell[] | undefined)[][]; // of each series, time by time
  groups: number;
}

const seconds = (when: Cell): number => new Date(String(when)).getTime() / 1000; // a date: its midnight in UTC

/* Columns: the period, splits, one for each measure. */
export function lines(answer: Answer, measures: number): Lines[] {
  const first = answer.columns.length - measures;
  const times = [...new Set(answer.rows.map((row) => seconds(row[0] ?? null)))].sort((a, b) => a - b);
  const place = new Map(times.map((time, i) => [time, i]));
  return answer.columns.slice(first).map((column, m) => {
    const groups = new Map<string, (number | null)[]>();
    const rows = new Map<string, (Cell[] | undefined)[]>();
    for (const row of answer.rows) {
      const name = first > 1 ? groupName(row.slice(1, first), answer.columns.slice(1)) : column.name;
      // A group without a row has no event in that period; without groups every period has its row.
      const values = groups.get(name) ?? times.map(() => (first > 1 ? 0 : null));
      const value = row[first + m];
      const i = place.get(seconds(row[0] ?? null)) ?? 0;
      values[i] = typeof value === 'number' ? value : null;
      groups.set(name, values);
      const of = rows.get(name) ?? [];
      of[i] = row;
      rows.set(name, of);
    }
    const sum = (values: (number | null)[]): number => values.reduce<number>((all, value) => all + (value ?? 0), 0);
    const sorted = [...groups].sort((a, b) => sum(b[1]) - sum(a[1]));
    const series = sorted.slice(0, MOST_GROUPS).map(([name, values]): Series => ({ name, values }));
    return { measure: column.name, times, series, rows: series.map((one) => rows.get(one.name) ?? []), groups: groups.size };
  });
}

/* A point of people opens to who they are. */
function pickOf(answer: Answer, form: string, chart: Lines): Pick | undefined {
  if (!countsPeople(form, chart.measure)) return undefined;
  return {
    may: () => true,
    open: (s, i) => {
      const row = chart.rows[s]?.[i];
      if (row) void openPeople(answer.query, [row], { column: chart.measure });
    },
  };
}

export function Trend({ answer, form, measures }: { answer: Answer; form: string; measures: number }) {
  const charts = useMemo(() => lines(answer, measures), [answer, measures]);
  const hours = answer.columns[0]?.name === 'hour';
  return (
    <div class="stack">
      {charts.map((chart) => (
        <div key={chart.measure} class="stack">
          {charts.length > 1 && chart.series.length > 1 && <h3>{chart.measure}</h3>}
          <Chart label={t.explore.trendLabel(chart.measure)} times={chart.times} series={chart.series} hours={hours} tableElsewhere pick={pickOf(answer, form, chart)} height={charts.length > 1 ? 220 : 340} />
          {chart.groups > chart.series.length && <p class="notice">{t.explore.groupsCut(chart.series.length, chart.groups)}</p>}
        </div>
      ))}
    </div>
  );
}
