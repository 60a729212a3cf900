/* The shape of the last days, and how they compare. */
import { percent } from '../format';

/* A line without axes, for the shape of the last days. The number stands beside it. What is unknown has
 * no point: the line goes on behind it. */
export function Spark({ values }: { values: (number | null)[] }) {
  const known = values.flatMap((value, i) => (value === null ? [] : [{ value, i }]));
  if (known.length < 2) return null;
  const least = Math.min(...known.map((one) => one.value), 0);
  const height = Math.max(...known.map((one) => one.value), 0) - least || 1;
  const first = known[0]!.i;
  const step = 100 / (known[known.length - 1]!.i - first);
  const points = known.map(({ value, i }) => `${((i - first) * step).toFixed(2)},${(28 - ((value - least) / height) * 26).toFixed(2)}`);
  return (
    <svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">
      <polygon points={`0,30 ${points.join(' ')} 100,30`} />
      <polyline points={points.join(' ')} vector-effect="non-scaling-stroke" />
    </svg>
  );
}

/* How much more or less than before, in a colour. */
export function Change({ now, before }: { now: number | null; before: number | null }) {
  if (!before || now === null) return null;
  const share = now / before - 1;
  const sign = share > 0 ? '▲' : share < 0 ? '▼' : '';
  return (
    <span class={share > 0.005 ? 'up' : share < -0.005 ? 'down' : 'muted'}>
      {sign} {percent(Math.abs(share))}
    </span>
  );
}
