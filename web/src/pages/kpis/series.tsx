/* The values of a KPI with what was to be expected, its target and what lies outside; and as they
 * were known at any moment, with what is known now. What is chosen is in the address. */
import { useMemo } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { GRAINS, kpiSeries, type Kpi, type KpiSeries, type SeriesPoint } from '../../api/kpis';
import { may } from '../../api/session';
import { NONE, plainDay } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Chart, type Band, type Pick, type Series } from '../../ui/chart';
import { Card, Failure, Notes, Waiting } from '../../ui/parts';
import { Table } from '../../ui/table';
import { asksPeople, openPeople } from '../../ui/who';
import { addDays, asOf, known, periodName, signed, told, writer } from './write';

const FLAGS_TOLD = 5;
const DIFFERENCES_TOLD = 10;
const FAR = 3; // a target that is so many times what is shown would flatten it

const outside = (point: SeriesPoint): point is SeriesPoint & { verdict: 'below' | 'above' } => point.verdict === 'below' || point.verdict === 'above';

interface Drawn {
  times: number[];
  series: Series[];
  band: Band | undefined;
  marked: { name: string; at: (string | null)[] };
  far: boolean; // the target is not drawn
}

function drawn(kpi: Kpi, said: KpiSeries): Drawn {
  const words = t.kpis.series;
  const { points } = said;
  const format = writer(kpi);
  const over = (point: SeriesPoint): number | null => (point.complete === false && !said.as_of ? null : point.value);
  const series: Series[] = [{ name: said.as_of ? words.then : words.value, values: points.map(over), color: 1, format }];
  if (said.as_of) series.push({ name: words.now, values: points.map((point) => (point.now ? point.now.value : point.value)), color: 2, format });
  const last = points.length - 1;
  if (!said.as_of && points[last]?.complete === false && known(points[last].value))
    series.push({ name: words.running, values: points.map((point, i) => (i >= last - 1 ? point.value : null)), color: 8, dashed: true, format });
  const most = Math.max(0, ...points.map((point) => Math.max(point.value ?? 0, point.band?.high ?? 0)));
  const aimed = kpi.target && said.grain === (kpi.grain ?? 'day');
  const far = !!aimed && kpi.target!.value > most * FAR;
  if (aimed && !far) series.push({ name: words.target, values: points.map(() => kpi.target!.value), color: 5, dashed: true, format });
  const banded = points.some((point) => point.band);
  return {
    times: points.map((point) => Date.parse(`${point.period}T00:00:00Z`) / 1000),
    series,
    band: banded ? { name: words.expected, low: points.map((point) => point.band?.low ?? null), high: points.map((point) => point.band?.high ?? null), format } : undefined,
    marked: { name: words.flagged, at: points.map((point) => (outside(point) ? words.verdicts[point.verdict] : null)) },
    far,
  };
}

/* Points that count customers open to who they are; as they were known then, nobody can say. */
function pickOf(said: KpiSeries): Pick | undefined {
  const { question } = said;
  if (!question || said.as_of || !asksPeople(question) || !may('query')) return undefined;
  const open = (_s: number, i: number): void => {
    const point = said.points[i];
    if (point) void openPeople(question, [[point.period]], { at: asOf(question, point) });
  };
  return { may: (s) => s === 0, open };
}

function Flags({ kpi, said }: { kpi: Kpi; said: KpiSeries }) {
  const words = t.kpis.series;
  const write = writer(kpi);
  const flags = said.points.filter(outside).reverse();
  if (!flags.length) return null;
  return (
    <div class="kpi-flags">
      <h3>{words.flags(flags.length)}</h3>
      <ul>
        {flags.slice(0, FLAGS_TOLD).map((point) => (
          <li key={point.period}>
            {words.flag(periodName(said.grain, point.period, plainDay), told(point.value, write), words.verdicts[point.verdict], told(point.band?.low, write), told(point.band?.high, write))}
          </li>
        ))}
        {flags.length > FLAGS_TOLD && <li class="muted">{words.more(flags.length - FLAGS_TOLD)}</li>}
      </ul>
    </div>
  );
}

function why(point: SeriesPoint): string {
  const words = t.kpis.series;
  const { now } = point;
  if (!now) return '';
  if (!now.because.length) return known(point.value) ? '' : words.notKept;
  const counts = [now.late_events > 0 && words.late(now.late_events), now.merged > 0 && words.merged(now.merged)].filter(Boolean);
  return now.because.map((cause) => words.because[cause]).join('; ') + (counts.length ? ` (${counts.join(', ')})` : '');
}

/* Period by period, what was known then against what is known now. */
function Differences({ kpi, said }: { kpi: Kpi; said: KpiSeries }) {
  const words = t.kpis.series;
  const write = writer(kpi);
  const rows = said.points.filter((point) => point.now && point.now.value !== point.value).reverse();
  const change = (n: number | null | undefined) => (known(n) ? (n === 0 ? <span class="muted">{write(0)}</span> : signed(n, write)) : <span class="muted">{NONE}</span>);
  return (
    <div class="stack">
      <h3>{words.differs}</h3>
      {rows.length === 0 ? (
        <p class="muted">{said.points.some((point) => known(point.value)) ? words.same : words.nothingThen}</p>
      ) : (
        <Table
          caption={words.differs}
          rows={rows}
          limit={DIFFERENCES_TOLD}
          rowKey={(row) => row.period}
          columns={[
            { title: t.common.when, cell: (row) => periodName(said.grain, row.period, plainDay) },
            { title: words.then, number: true, cell: (row) => told(row.value, write) },
            { title: words.now, number: true, cell: (row) => told(row.now?.value, write) },
            { title: words.difference, number: true, cell: (row) => change(row.now?.difference) },
            { title: words.fromDefinition, number: true, cell: (row) => change(row.now?.from_definition) },
            { title: words.fromData, number: true, cell: (row) => change(row.now?.from_data) },
            { title: words.why, cell: why },
          ]}
        />
      )}
    </div>
  );
}

function Shown({ kpi, said }: { kpi: Kpi; said: KpiSeries }) {
  const words = t.kpis.series;
  const it = useMemo(() => drawn(kpi, said), [kpi, said]);
  const nothing = !said.points.some((point) => known(point.value) || known(point.now?.value));
  return (
    <div class="stack">
      {nothing ? (
        <p class="muted">{said.as_of ? words.nothingThen : words.nothing}</p>
      ) : (
        <>
          <Chart pick={pickOf(said)} label={`${kpi.name}: ${words.title}`} times={it.times} series={it.series} band={it.band} marked={it.marked} height={300} />
          <p class="muted">
            {it.band ? words.expectedNote : words.noBand} {it.far && kpi.target && words.targetFar(writer(kpi)(kpi.target.value))}
          </p>
          <Flags kpi={kpi} said={said} />
          {said.as_of && <Differences kpi={kpi} said={said} />}
        </>
      )}
      <Notes of={said.notes} />
    </div>
  );
}

export function SeriesCard({ kpi, place }: { kpi: Kpi; place: Place }) {
  const words = t.kpis.series;
  const at = (name: string): string => place.query.get(name) ?? '';
  const grain = at('grain') || kpi.grain || 'day';
  const wanted = { grain, from: at('from'), to: at('to') && addDays(at('to'), 1), as_of: at('as_of') };
  const asked = useAsk(`series ${kpi.id} ${JSON.stringify(wanted)}`, (signal) => kpiSeries(kpi.id, wanted, signal));
  const set = (name: string, value: string) => go(href('kpis', [kpi.id], { ...Object.fromEntries(place.query), [name]: value }), 'replace');
  return (
    <Card
      title={words.title}
      actions={
        <div class="row" role="group" aria-label={words.grain}>
          {GRAINS.map((name) => (
            <button key={name} type="button" class={name === grain ? 'button small primary' : 'button small'} aria-pressed={name === grain} onClick={() => set('grain', name)}>
              {words.grains[name]}
            </button>
          ))}
        </div>
      }
    >
      <div class="stack" aria-busy={asked.busy}>
        <div class="filters">
          <label class="field">
            <span>{words.from}</span>
            <input class="input" type="date" value={at('from')} onChange={(event) => set('from', event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>{words.to}</span>
            <input class="input" type="date" value={at('to')} onChange={(event) => set('to', event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>{words.asOf}</span>
            <input class="input" type="datetime-local" value={at('as_of')} onChange={(event) => set('as_of', event.currentTarget.value)} />
          </label>
          {at('as_of') && (
            <button type="button" class="button" onClick={() => set('as_of', '')}>
              {words.asOfNow}
            </button>
          )}
        </div>
        {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
        {!asked.data && !asked.problem && <Waiting lines={6} />}
        {asked.data && <Shown kpi={kpi} said={asked.data} />}
      </div>
    </Card>
  );
}
