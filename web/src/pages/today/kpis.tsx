/* The KPIs that others are parts of, and whatever is beyond its guardrail; nothing where there are
 * none. Each beside the period before. */
import { useAsk } from '../../api/ask';
import { kpis, kpiSeries, kpiTree, type Kpi, type KpiPoint } from '../../api/kpis';
import { plainDay } from '../../format';
import { href } from '../../router';
import { t } from '../../texts';
import { Badge, Card } from '../../ui/parts';
import { KpiChange } from '../kpis/parts';
import { before, periodName, writer } from '../kpis/write';

const MOST = 8;

interface Told {
  kpi: Kpi;
  was: number | null;
}

const outside = (point: KpiPoint | null): boolean => point?.guardrail === 'above' || point?.guardrail === 'below';

async function load(signal: AbortSignal): Promise<{ told: Told[]; all: number }> {
  const [list, roots] = await Promise.all([kpis(signal), kpiTree(signal)]);
  const shown = list.filter((kpi) => roots.some((root) => root.id === kpi.id) || outside(kpi.latest)).slice(0, MOST);
  const series = await Promise.all(shown.map((kpi) => kpiSeries(kpi.id, {}, signal).catch(() => null)));
  const fresh = await kpis(signal); // of the definitions of now: asking for the series computed them
  const told = shown.map((kpi, i) => {
    const now = fresh.find((one) => one.id === kpi.id) ?? kpi;
    return { kpi: now, was: before(series[i]?.points, now.latest?.period) };
  });
  return { told, all: list.length };
}

export function Kpis() {
  const asked = useAsk('today kpis', load);
  if (!asked.data?.told.length) return null;
  return (
    <Card
      title={t.today.kpis}
      note={t.today.kpisNote}
      actions={
        <a class="button small" href="/kpis">
          {t.today.allKpis(asked.data.all)}
        </a>
      }
    >
      <div class="kpi-strip">
        {asked.data.told.map((one) => (
          <One key={one.kpi.id} {...one} />
        ))}
      </div>
    </Card>
  );
}

function One({ kpi, was }: Told) {
  const write = writer(kpi);
  const point = kpi.latest;
  const value = point?.hidden ? t.kpis.hidden : point?.value === null || point?.value === undefined ? <span class="muted">{t.today.unknown}</span> : write(point.value);
  return (
    <a class="stat" href={href('kpis', [kpi.id])}>
      <span class="what">{kpi.name}</span>
      <span class="value words">{value}</span>
      <span class="note row">
        {was !== null && <KpiChange kpi={kpi} was={was} />}
        {point && periodName(kpi.grain, point.period, plainDay)}
        {outside(point) && <Badge tone="bad">{t.today.outside}</Badge>}
      </span>
      {kpi.target && <span class="note">{t.today.kpiTarget(write(kpi.target.value))}</span>}
    </a>
  );
}
