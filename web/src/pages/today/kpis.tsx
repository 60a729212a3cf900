/* The company's KPIs with their last whole period; nothing where there are none. */
import { useAsk } from '../../api/ask';
import { kpis, type Kpi } from '../../api/kpis';
import { plainDay } from '../../format';
import { href } from '../../router';
import { t } from '../../texts';
import { Badge } from '../../ui/parts';
import { writer } from '../kpis/write';

export function Kpis() {
  const asked = useAsk('kpis', kpis);
  if (!asked.data?.length) return null;
  return (
    <section class="grid stats" aria-label={t.today.kpis}>
      {asked.data.map((kpi) => (
        <One key={kpi.id} kpi={kpi} />
      ))}
    </section>
  );
}

function One({ kpi }: { kpi: Kpi }) {
  const write = writer(kpi);
  const point = kpi.latest ?? kpi.running;
  const outside = point?.guardrail === 'above' || point?.guardrail === 'below';
  return (
    <a class="card stat figure bare" href={href('kpis', [kpi.id])}>
      <span class="what">{kpi.name}</span>
      <span class="value">{point?.value === null || point?.value === undefined ? <span class="muted">{t.today.unknown}</span> : write(point.value)}</span>
      <span class="note row">
        {point && plainDay(point.period)}
        {kpi.target && <Badge tone={point?.target_met ? 'good' : ''}>{t.today.kpiTarget(write(kpi.target.value))}</Badge>}
        {outside && <Badge tone="bad">{t.today.outside}</Badge>}
      </span>
    </a>
  );
}
