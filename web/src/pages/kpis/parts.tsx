/* What the list and a KPI's page show alike: change, guardrail, target. */
import type { Kpi, Verdict } from '../../api/kpis';
import { NONE, percent, plainDay } from '../../format';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { Badge } from '../../ui/parts';
import { known, signed, writer } from './write';

const STILL = 0.0005; // a smaller change is none

/* Good or bad by what the KPI is to do, in a colour and in a word for those who do not see it. */
export function KpiChange({ kpi, was }: { kpi: Kpi; was: number | null }) {
  const now = kpi.latest?.value;
  if (!known(now) || !known(was))
    return (
      <span class="muted" title={t.kpis.changeUnknown}>
        {t.kpis.unknown}
      </span>
    );
  const share = was > 0 ? now / was - 1 : 0;
  const rose = now - was;
  const still = was > 0 ? Math.abs(share) < STILL : rose === 0;
  const good = rose > 0 === ((kpi.direction ?? 'up') === 'up');
  return (
    <span class={`kpi-change ${still ? 'muted' : good ? 'up' : 'down'}`} title={t.kpis.against(writer(kpi)(was))}>
      {still ? '' : rose > 0 ? '▲ ' : '▼ '}
      {was > 0 ? percent(Math.abs(share)) : signed(rose, writer(kpi))}
      {!still && <span class="hidden-text"> {good ? t.kpis.better : t.kpis.worse}</span>}
    </span>
  );
}

/* Nothing for who looks, in words for who listens. */
const None = ({ what }: { what: string }) => <span class="hidden-text">{what}</span>;

export function Guardrail({ kpi }: { kpi: Kpi }) {
  if (!kpi.guardrail) return <None what={t.kpis.rails.none} />;
  const state: Verdict = kpi.latest?.guardrail ?? 'unknown';
  if (state === 'unknown') return <Badge>{t.kpis.rails.unknown}</Badge>;
  return (
    <Badge tone={state === 'inside' ? 'good' : 'bad'}>
      <Icon name={state === 'inside' ? 'check' : 'alert'} size={16} />
      {t.kpis.rails[state]}
    </Badge>
  );
}

export function rails(kpi: Kpi): string {
  const write = writer(kpi);
  const { low, high } = kpi.guardrail ?? {};
  return known(low) || known(high) ? t.kpis.between(known(low) ? write(low) : null, known(high) ? write(high) : null) : NONE;
}

export function Target({ kpi }: { kpi: Kpi }) {
  if (!kpi.target) return <None what={t.kpis.noTarget} />;
  const met = kpi.latest?.target_met;
  return (
    <span class="kpi-target">
      <span>
        {writer(kpi)(kpi.target.value)} <span class="muted">{t.kpis.by(plainDay(kpi.target.by))}</span>
      </span>
      {typeof met === 'boolean' && <Badge tone={met ? 'good' : ''}>{met ? t.kpis.met : t.kpis.notMet}</Badge>}
    </span>
  );
}
