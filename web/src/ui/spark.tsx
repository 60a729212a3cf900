/* The shape of the last days, and how they compare. */
import { percent } from '../format';

/* A line without axes, for the shape of the last days. The number stands beside it. */
export function Spark({ values }: { values: (number | null)[] }) {
  const known = values.map((value) => value ?? 0);
  const most = Math.max(...known, 0) || 1;
  const step = 100 / Math.max(1, known.length - 1);
  const points = known.map((value, i) => `${(i * step).toFixed(2)},${(28 - (value / most) * 26).toFixed(2)}`);
  if (known.length < 2) return null;
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
