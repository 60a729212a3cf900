/* The change of a KPI between two ranges, given to its parts: a waterfall that sums exactly. */
import { useAsk } from '../../api/ask';
import { attribution, type Attribution, type Contribution, type Grain, type Kpi } from '../../api/kpis';
import { dayKey, NONE, percent } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Card, Failure, Notes, Waiting } from '../../ui/parts';
import { Table } from '../../ui/table';
import { addDays, known, signed, told, writer } from './write';

const DAYS: Record<Grain, number> = { day: 7, week: 28, month: 84 };
const DEPTHS = ['', '1', '2', '3'];

interface Step extends Partial<Contribution> {
  key: string;
  from: number; // shares of the picture's width
  to: number;
  total?: number | null;
}

/* Each contribution begins where the one before ended. The picture is as wide as they reach. */
function steps(said: Attribution): Step[] {
  let at = said.against ?? 0;
  const ends = [at, ...said.contributions.map((part) => (at += part.contribution ?? 0))];
  const low = Math.min(...ends);
  const wide = Math.max(...ends) - low || 1;
  const place = (value: number): number => 0.03 + (0.94 * (value - low)) / wide;
  const first = place(ends[0] ?? 0);
  const last = place(ends[ends.length - 1] ?? 0);
  return [
    { key: ':before', name: t.kpis.attribution.before, total: said.against, from: first, to: first },
    ...said.contributions.map((part, i) => ({ ...part, key: part.id, from: place(ends[i] ?? 0), to: place(ends[i + 1] ?? 0) })),
    { key: ':after', name: t.kpis.attribution.after, total: said.value, from: last, to: last },
  ];
}

/* What the rounded parts add up to, in the KPI's digits. */
function sumOf(said: Attribution): number {
  const unit = 10 ** said.digits;
  return said.contributions.reduce((sum, part) => sum + Math.round((part.contribution ?? 0) * unit), 0) / unit;
}

function Fall({ step, up }: { step: Step; up: boolean }) {
  const left = Math.min(step.from, step.to);
  const width = Math.abs(step.to - step.from);
  const tone = step.total !== undefined ? 'total' : step.to === step.from ? 'still' : step.to > step.from === up ? 'good' : 'bad';
  return (
    <span class="fall" aria-hidden="true">
      <i class={tone} style={{ left: `${left * 100}%`, width: `${width * 100}%` }} />
    </span>
  );
}

function exactly(kpi: Kpi, digits: number): (n: number) => string {
  if (kpi.unit === 'duration') return writer(kpi);
  const percents = kpi.unit === 'percent';
  const places = percents ? Math.max(0, digits - 2) : digits;
  const style = percents ? { style: 'percent' as const } : kpi.unit === 'money' && kpi.currency ? { style: 'currency' as const, currency: kpi.currency } : {};
  const format = new Intl.NumberFormat(navigator.languages?.[0] ?? 'en', { ...style, minimumFractionDigits: places, maximumFractionDigits: places });
  return (n) => format.format(n);
}

function Shown({ kpi, said }: { kpi: Kpi; said: Attribution }) {
  const words = t.kpis.attribution;
  const write = exactly(kpi, said.digits);
  const plus = (n: number | null | undefined) => (known(n) ? signed(n, write) : t.kpis.unknown);
  const complete = !said.unknown && said.contributions.every((part) => known(part.contribution));
  const own = (step: Step, n: number | null | undefined) => told(n, writer({ unit: step.unit, currency: kpi.currency }));
  return (
    <div class="stack">
      <p>
        <strong>{words.sentence(told(said.against, write), told(said.value, write), plus(said.change))}</strong>
      </p>
      {said.unknown && <p class="notice">{words.unknown(said.unknown)}</p>}
      {said.method !== 'none' && (
        <Table
          caption={words.title}
          rows={steps(said)}
          rowKey={(row) => row.key}
          columns={[
            { title: words.part, cell: (row) => (row.id ? <a href={href('kpis', [row.id])}>{row.name}</a> : <strong>{row.name}</strong>) },
            { title: words.contribution, number: true, cell: (row) => (row.id ? plus(row.contribution) : <strong>{told(row.total, write)}</strong>) },
            { title: words.picture, cell: (row) => complete && <Fall step={row} up={(kpi.direction ?? 'up') === 'up'} /> },
            { title: words.share, number: true, cell: (row) => <span class="muted">{row.id ? (known(row.share) ? percent(Math.round(row.share * 1000) / 1000 || 0) : NONE) : ''}</span> },
            { title: words.before, number: true, cell: (row) => row.id && own(row, row.against) },
            { title: words.after, number: true, cell: (row) => row.id && own(row, row.value) },
          ]}
        />
      )}
      {complete && said.contributions.length > 0 && said.method !== 'none' && (
        <p class="kpi-sum">
          {words.sum}: <strong>{plus(sumOf(said))}</strong>
        </p>
      )}
      <p class="muted">{words.methods[said.method]}</p>
      <Notes of={said.notes} />
    </div>
  );
}

export function AttributionCard({ kpi, place }: { kpi: Kpi; place: Place }) {
  const words = t.kpis.attribution;
  const at = (name: string): string => place.query.get(name) ?? '';
  const days = DAYS[kpi.grain ?? 'day'];
  const last = at('until') || addDays(dayKey(Date.now()), -1);
  const first = at('since') || addDays(last, 1 - days);
  const baseLast = at('base_until') || addDays(first, -1);
  const baseFirst = at('base_since') || addDays(baseLast, 1 - days);
  const depth = at('depth');
  const right = first <= last && baseFirst <= baseLast;
  const wanted = { from: first, to: addDays(last, 1), against_from: baseFirst, against_to: addDays(baseLast, 1), depth };
  const asked = useAsk(right ? `attribution ${kpi.id} ${JSON.stringify(wanted)}` : null, (signal) => attribution(kpi.id, wanted, signal));
  const set = (name: string, value: string) => go(href('kpis', [kpi.id], { ...Object.fromEntries(place.query), [name]: value }), 'replace');
  const day = (name: string, label: string, value: string) => (
    <label class="field">
      <span>{label}</span>
      <input class="input" type="date" value={value} onChange={(event) => set(name, event.currentTarget.value)} />
    </label>
  );
  return (
    <Card title={words.title} note={words.note}>
      <div class="stack" aria-busy={asked.busy}>
        <div class="filters">
          {day('base_since', words.againstFrom, baseFirst)}
          {day('base_until', words.againstTo, baseLast)}
          {day('since', words.from, first)}
          {day('until', words.to, last)}
          <label class="field">
            <span>{words.depth}</span>
            <select class="input" value={depth} onChange={(event) => set('depth', event.currentTarget.value)}>
              {DEPTHS.map((n) => (
                <option key={n} value={n}>
                  {n ? words.levels(Number(n)) : words.leaves}
                </option>
              ))}
            </select>
          </label>
        </div>
        {!right && <p class="notice">{words.wrong}</p>}
        {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
        {right && !asked.data && !asked.problem && <Waiting />}
        {right && asked.data && <Shown kpi={kpi} said={asked.data} />}
      </div>
    </Card>
  );
}
