/* Lifecycle: who is active stands above the line, period by period; who lapsed below it. */
import { useMemo } from 'preact/hooks';
import { at, type Answer } from '../../../api/query';
import { count } from '../../../format';
import { t } from '../../../texts';
import { Chart, type Series } from '../../../ui/chart';
import { openPeople, Who } from '../../../ui/who';
import { useGroup } from './groups';

const PARTS = [
  { name: 'retained', color: 1 },
  { name: 'returned', color: 6 },
  { name: 'new', color: 5 },
  { name: 'lapsed', color: 2, below: true },
] as const;

export function Lifecycle({ answer }: { answer: Answer }) {
  const { rows, choice } = useGroup(answer, 1, at(answer, 'active'));
  const drawn = useMemo(() => {
    const series = PARTS.map(({ name, ...how }): Series => ({ name: t.explore.lifecycle[name], ...how, values: rows.map((row) => row[at(answer, name)] as number | null) }));
    return { times: rows.map((row) => new Date(String(row[0])).getTime() / 1000), series };
  }, [answer, rows.length, rows[0]]);
  const last = rows[rows.length - 1];
  const dormant = last?.[at(answer, 'dormant')];
  const pick = { may: () => true, open: (s: number, i: number) => void openPeople(answer.query, [rows[i] ?? []], { column: PARTS[s]?.name }) };
  return (
    <div class="stack">
      {choice}
      <Chart label={t.explore.lifecycle.label} times={drawn.times} series={drawn.series} stacked tableElsewhere height={340} pick={pick} />
      {last && typeof dormant === 'number' && (
        <p class="muted">
          <Who answer={answer} row={last} column="dormant">
            {count(dormant)}
          </Who>{' '}
          {t.explore.lifecycle.dormant}
        </p>
      )}
    </div>
  );
}
