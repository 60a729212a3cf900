/* What became of events: a colour for each fate, a bar of their shares. */
import type { Counts, Fate } from '../../api/sources';
import { FATES } from '../../api/sources';
import { count } from '../../format';
import { t } from '../../texts';
import { Badge, type Tone } from '../../ui/parts';

const TONES: Record<Fate, Tone> = { accepted: 'good', duplicate: '', quarantined: 'warn', refused: 'bad' };

export function FateBadge({ fate }: { fate: Fate }) {
  return <Badge tone={TONES[fate]}>{t.sources.fates[fate]}</Badge>;
}

export function FateBar({ counts }: { counts: Counts }) {
  if (!counts.received) return <span class="fate-bar" aria-hidden="true" />;
  return (
    <span class="fate-bar" role="img" aria-label={FATES.map((fate) => `${t.sources.fates[fate]}: ${count(counts[fate])}`).join(', ')}>
      {FATES.map((fate) => (counts[fate] ? <i key={fate} class={`fate-${fate}`} style={{ width: `${(counts[fate] / counts.received) * 100}%` }} /> : null))}
    </span>
  );
}
