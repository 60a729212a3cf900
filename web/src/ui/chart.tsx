/* A chart over time by uPlot. The same numbers are there as a table, for who reads or hears them. */
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { companyZone, compact, count, moment, NONE, plainDay, tick } from '../format';
import { t } from '../texts';
import { Table, type Column } from './table';
import { onTheme } from './theme';

export interface Series {
  name: string;
  values: (number | null)[];
  color?: number; // 1 to 8; by default its place
  format?: (n: number) => string;
  dashed?: boolean;
  below?: boolean; // of a stack: it hangs from the line
}

/* What is expected: an area behind the lines. Where it is not known there is none. */
export interface Band {
  name: string;
  low: (number | null)[];
  high: (number | null)[];
  format: (n: number) => string;
}

/* What a click on a point opens: of which series, and the i-th of its values. */
export interface Pick {
  may: (series: number) => boolean;
  open: (series: number, i: number) => void;
}

interface ChartProps {
  label: string;
  times: number[]; // seconds since 1970; days: their midnight in UTC
  series: Series[];
  hours?: boolean; // the times are hours, not days
  height?: number;
  tableElsewhere?: boolean; // the page shows the numbers by itself
  stacked?: boolean;
  band?: Band;
  pick?: Pick | undefined;
  marked?: { name: string; at: (string | null)[] }; // points of the first series, with a word for each
}

const DAY_S = 86400;
const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colorOf = (series: Series, index: number): string => css(`--series-${series.color ?? (index % 8) + 1}`);

/* Stacked: each series stands on those before it, or hangs from them. The tallest is drawn first, the
 * others over it. */
function stack(series: Series[]): (number | null)[][] {
  const up: number[] = [];
  const down: number[] = [];
  const on = (sums: number[], i: number, value: number): number => (sums[i] = (sums[i] ?? 0) + value);
  return series.map((one) => one.values.map((value, i) => (one.below ? on(down, i, -(value ?? 0)) : on(up, i, value ?? 0)))).reverse();
}

const MARK_PX = 72; // a mark of the time axis, and room beside it
/* Marks stand where there are values, the last among them. */
function marked(times: number[], width: number): number[] {
  const every = Math.max(1, Math.ceil((times.length * MARK_PX) / Math.max(width, 1)));
  return times.filter((_, i) => (times.length - 1 - i) % every === 0);
}

const bars = uPlot.paths.bars?.({ size: [0.8, 40] });

function bar(one: Series, i: number): uPlot.Series {
  const color = colorOf(one, i);
  return { label: one.name, stroke: color, fill: color, width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) };
}

function line(one: Series, i: number, props: ChartProps): uPlot.Series {
  const color = colorOf(one, i);
  const filled = props.series.length === 1 && !props.band ? { fill: `${color}22` } : {};
  const dashed = one.dashed ? { dash: [5, 5] } : {};
  return { label: one.name, stroke: color, width: 2, points: { show: props.times.length < 2 }, ...filled, ...dashed };
}

/* Behind the lines the two edges of the band, before them the marks. */
function edges(band: Band): uPlot.Series[] {
  return [band.name, band.name].map((label) => ({ label, stroke: 'transparent', width: 0, points: { show: false } }));
}

function marks(name: string): uPlot.Series {
  return { label: name, stroke: css('--bad'), paths: () => null, points: { show: true, size: 10, width: 2, stroke: css('--bad'), fill: css('--surface') } };
}

/* From 0, or from the least value below it; what is expected below that is cut off. */
function reach(props: ChartProps, max: number): [number, number] {
  const least = props.stacked ? Math.min(0, ...stack(props.series).flat().map((value) => value ?? 0)) : Math.min(0, ...props.series.flatMap((one) => one.values.map((value) => value ?? 0)));
  return [least * 1.08, max > 0 ? max * 1.08 : least < 0 ? 0 : 1];
}

function options(props: ChartProps, width: number): uPlot.Options {
  const { times } = props;
  const last = times.length - 1;
  const width_s = last > 0 ? (times[last] ?? 0) - (times[last - 1] ?? 0) : DAY_S;
  const grid = { stroke: css('--line'), width: 1 };
  const text = { stroke: css('--text-3'), font: `12px ${css('--font')}`, ticks: { show: false }, grid };
  return {
    width,
    height: props.height ?? 240,
    padding: [8, 24, 0, 0],
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), props.hours ? companyZone() : 'UTC'),
    legend: { show: false },
    cursor: { points: { size: 7 }, y: false, drag: { x: false, y: false } },
    // A bar stands on its mark: half of the first and of the last lie beyond.
    scales: { x: { time: true, ...(props.stacked ? { range: [(times[0] ?? 0) - width_s / 2, (times[last] ?? 0) + width_s / 2] as [number, number] } : {}) }, y: { range: (_u, _min, max) => reach(props, max) } },
    axes: [
      { ...text, grid: { show: false }, space: MARK_PX, size: 28, ...(props.hours ? {} : { splits: (u: uPlot) => marked(times, u.width) }), values: (_u, splits, _axis, _space, step) => splits.map((at) => tick(at, props.hours ? step : width_s, !!props.hours)) },
      { ...text, size: 52, values: (_u, values) => values.map((v) => compact(v)) },
    ],
    series: [
      {},
      ...(props.band ? edges(props.band) : []),
      ...(props.stacked ? props.series.map(bar).reverse() : props.series.map((one, i) => line(one, i, props))),
      ...(props.marked ? [marks(props.marked.name)] : []),
    ],
    ...(props.band ? { bands: [{ series: [1, 2] as [number, number], fill: `${css('--series-8')}33` }] } : {}),
  };
}

function data(props: ChartProps): uPlot.AlignedData {
  const rows = props.stacked ? stack(props.series) : props.series.map((one) => one.values);
  const behind = props.band ? [props.band.high, props.band.low] : [];
  const before = props.marked ? [props.marked.at.map((mark, i) => (mark ? (props.series[0]?.values[i] ?? null) : null))] : [];
  return [props.times, ...behind, ...rows, ...before];
}

const FINGER = 28; // pixels around a line that are meant for it

/* The series under the pointer: of a stack the part of the bar, else the nearest line. */
function under(u: uPlot, props: ChartProps, i: number): number | null {
  const top = u.cursor.top ?? -1;
  const value = u.posToVal(top, 'y');
  let found: number | null = null;
  if (props.stacked) {
    const sums = stack(props.series).reverse();
    props.series.forEach((one, s) => {
      const sum = sums[s]?.[i] ?? 0;
      if (found === null && one.values[i] && !!one.below === value < 0 && Math.abs(value) <= Math.abs(sum)) found = s;
    });
    return found;
  }
  let nearest = FINGER;
  props.series.forEach((one, s) => {
    const far = Math.abs(u.valToPos(one.values[i] ?? NaN, 'y') - top);
    if (far < nearest) [found, nearest] = [s, far];
  });
  return found;
}

/* What a click at the pointer would open. */
function target(u: uPlot, props: ChartProps): [number, number] | null {
  const i = u.cursor.idx;
  if (i === null || i === undefined || !props.pick) return null;
  const s = under(u, props, i);
  return s !== null && props.pick.may(s) && props.series[s]?.values[i] ? [s, i] : null;
}

export function Chart(props: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const [at, setAt] = useState<number | null>(null);
  const [asTable, showTable] = useState(false);
  useEffect(() => {
    const box = place.current;
    if (!box || asTable) return;
    let plot: uPlot | undefined;
    const draw = () => {
      plot?.destroy();
      const made = options(props, box.clientWidth);
      const point = (u: uPlot) => {
        setAt(u.cursor.idx ?? null);
        u.over.classList.toggle('opens-people', target(u, latest.current) !== null);
      };
      made.hooks = { setCursor: [point] };
      const drawn = (plot = new uPlot(made, data(props), box));
      drawn.over.addEventListener('click', () => {
        const at = target(drawn, latest.current);
        if (at) latest.current.pick?.open(...at);
      });
    };
    draw();
    const sized = new ResizeObserver(() => plot?.setSize({ width: box.clientWidth, height: props.height ?? 240 }));
    sized.observe(box);
    const stop = onTheme(draw);
    return () => {
      stop();
      sized.disconnect();
      plot?.destroy();
    };
  }, [props.times, props.series, props.stacked, props.height, props.band, props.marked, asTable]);

  const when = (seconds: number): string => (props.hours ? moment(seconds * 1000) : plainDay(new Date(seconds * 1000).toISOString().slice(0, 10)));
  const shownAt = at !== null && props.times[at] !== undefined ? at : null;
  const columns: Column<number>[] = [
    { title: t.common.when, cell: (i) => when(props.times[i] ?? 0) },
    ...props.series.map((one, s): Column<number> => ({ title: one.name, number: true, cell: (i) => (props.pick?.may(s) && one.values[i] ? <PickButton text={shown(one, i)} open={() => props.pick?.open(s, i)} /> : shown(one, i)) })),
  ];
  const { band, marked } = props;
  if (band) columns.push({ title: band.name, number: true, cell: (i) => expected(band, i) });
  if (marked) columns.push({ title: marked.name, cell: (i) => marked.at[i] ?? '' });
  return (
    <figure class="chart" aria-label={props.label}>
      <div class="chart-legend">
        {props.series.map((one, i) => (
          <span key={one.name}>
            <i class={`dot series-${one.color ?? (i % 8) + 1}`} />
            {one.name}
            {shownAt !== null && <strong>{shown(one, shownAt)}</strong>}
          </span>
        ))}
        {band && (
          <span>
            <i class="dot band" />
            {band.name}
            {shownAt !== null && <strong>{expected(band, shownAt)}</strong>}
          </span>
        )}
        {marked?.at.some(Boolean) && (
          <span>
            <i class="dot mark" />
            {marked.name}
          </span>
        )}
        <span class="when">{shownAt !== null ? when(props.times[shownAt] ?? 0) : ''}</span>
        {!props.tableElsewhere && (
          <button type="button" class="button plain small" aria-pressed={asTable} onClick={() => showTable(!asTable)}>
            {asTable ? t.common.asChart : t.common.asTable}
          </button>
        )}
      </div>
      {asTable ? <Table caption={props.label} columns={columns} rows={props.times.map((_, i) => i)} rowKey={(i) => i} /> : <div ref={place} class="chart-place" role="img" aria-label={props.label} />}
    </figure>
  );
}

function PickButton({ text, open }: { text: string; open: () => void }) {
  return (
    <button type="button" class="who-link" title={t.explore.who} onClick={open}>
      {text}
    </button>
  );
}

function shown(series: Series, index: number): string {
  const value = series.values[index];
  return value === null || value === undefined ? NONE : (series.format ?? count)(value);
}

function expected(band: Band, index: number): string {
  const low = band.low[index];
  const high = band.high[index];
  return low === null || low === undefined || high === null || high === undefined ? NONE : `${band.format(low)} – ${band.format(high)}`;
}
