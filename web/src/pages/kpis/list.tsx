/* All KPIs, as a tree: what is made of others on top, its parts indented below. */
import { useAsk } from '../../api/ask';
import { kpis, kpiSeries, kpiTree, type Form, type Kpi, type Node, type SeriesPoint } from '../../api/kpis';
import { may } from '../../api/session';
import { plainDay } from '../../format';
import { go, href } from '../../router';
import { t } from '../../texts';
import { Card, Empty, Failure, WaitingCard } from '../../ui/parts';
import { Spark } from '../../ui/spark';
import { Table } from '../../ui/table';
import { Guardrail, KpiChange, Target } from './parts';
import { before, periodName, told, writer } from './write';

const AT_ONCE = 4;
const SPARK = 30; // periods in the shape of a KPI
const MOST_ASKED = 100; // KPIs whose period before is asked for

interface Row {
  key: string;
  kpi: Kpi;
  depth: number;
  sign: string;
  says: string; // the sign as a word
}

function sign(form: Form, minus: boolean, index: number): { sign: string; says: string } {
  const { operators } = t.kpis;
  if (form === 'sum' && minus) return { sign: '−', says: operators.minus };
  if (index === 0) return { sign: '', says: '' };
  if (form === 'sum') return { sign: '+', says: operators.plus };
  return form === 'product' ? { sign: '×', says: operators.times } : { sign: '÷', says: operators.by };
}

function flat(nodes: Node[], of: Map<string, Kpi>, depth = 0, above = '', form: Form = 'query'): Row[] {
  return nodes.flatMap((node, i) => {
    const kpi = of.get(node.id);
    const key = `${above}/${i}`;
    const before = depth ? sign(form, node.minus, i) : { sign: '', says: '' };
    return kpi ? [{ key, kpi, depth, ...before }, ...flat(node.parts, of, depth + 1, key, node.form)] : [];
  });
}

async function everything(signal: AbortSignal): Promise<Row[]> {
  const [list, roots] = await Promise.all([kpis(signal), kpiTree(signal)]);
  const made = (node: Node): number => (node.parts.length ? 0 : 1);
  return flat([...roots].sort((a, b) => made(a) - made(b)), new Map(list.map((kpi) => [kpi.id, kpi])));
}

interface Fresh {
  series: Map<string, SeriesPoint[]>;
  of: Map<string, Kpi>;
}

/* The kept values of each; those that cannot be had stay unknown. Asking for them computes what is
 * not of the definition of now, so the KPIs are read again behind it. */
async function fresh(ids: string[], signal: AbortSignal): Promise<Fresh> {
  const found = new Map<string, SeriesPoint[]>();
  const left = ids.slice(0, MOST_ASKED);
  const work = async (): Promise<void> => {
    for (let id = left.shift(); id && !signal.aborted; id = left.shift()) {
      const series = await kpiSeries(id, {}, signal).catch(() => null);
      if (series) found.set(id, series.points);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { series: found, of: new Map((await kpis(signal)).map((kpi) => [kpi.id, kpi])) };
}

function Nothing({ add }: { add: () => void }) {
  return (
    <Card>
      <Empty icon="kpis" title={t.kpis.emptyTitle}>
        <p>{t.kpis.emptyWhy}</p>
        <pre class="code">keel kpi apply examples/kpis/marketplace.toml --data DIR</pre>
        {may('kpi.write') && (
          <>
            <p>{t.kpis.emptyOwn}</p>
            <button type="button" class="button primary" onClick={add}>
              {t.kpis.add}
            </button>
          </>
        )}
      </Empty>
    </Card>
  );
}

function Owners({ kpi }: { kpi: Kpi }) {
  return (
    <span class="kpi-owners">
      <span>
        <span class="muted">{t.kpis.ownerMarketing}:</span> {kpi.owner_marketing ?? t.kpis.noOwner}
      </span>
      <span>
        <span class="muted">{t.kpis.ownerIt}:</span> {kpi.owner_it ?? t.kpis.noOwner}
      </span>
    </span>
  );
}

/* What changed since the period before, and the shape of what led there. */
function Lately({ kpi, points, known }: { kpi: Kpi; points: SeriesPoint[] | undefined; known: boolean }) {
  const whole = points?.filter((point) => point.complete !== false).slice(-SPARK) ?? [];
  return (
    <span class="kpi-value">
      {known ? <KpiChange kpi={kpi} was={before(points, kpi.latest?.period)} /> : <span class="muted">…</span>}
      <Spark values={whole.map((point) => point.value ?? null)} />
    </span>
  );
}

export function List({ add }: { add: () => void }) {
  const asked = useAsk('kpis', everything);
  const ids = [...new Set(asked.data?.map((row) => row.kpi.id))];
  const newest = useAsk(ids.length ? `fresh ${ids.join()}` : null, (signal) => fresh(ids, signal));
  if (asked.problem) return <Failure problem={asked.problem} again={asked.again} />;
  if (!asked.data) return <WaitingCard lines={8} />;
  if (!asked.data.length) return <Nothing add={add} />;
  const rows = asked.data.map((row) => ({ ...row, kpi: newest.data?.of.get(row.kpi.id) ?? row.kpi }));
  const value = ({ kpi }: Row) => {
    const point = kpi.latest;
    if (point?.hidden) return <span class="muted">{t.kpis.hidden}</span>;
    return (
      <span class="kpi-value">
        {point ? <strong>{told(point.value, writer(kpi))}</strong> : <span class="muted">{t.kpis.unknown}</span>}
        {point && <small class="muted">{periodName(kpi.grain, point.period, plainDay)}</small>}
      </span>
    );
  };
  return (
    <Card title={t.kpis.tree} note={t.kpis.treeNote} flush>
      <Table
        caption={t.kpis.tree}
        rows={rows}
        limit={500}
        rowKey={(row) => row.key}
        onRow={(row) => go(href('kpis', [row.kpi.id]))}
        columns={[
          {
            title: t.kpis.kpi,
            cell: (row) => (
              <span class="kpi-name" style={{ '--depth': row.depth }}>
                <span class="kpi-sign muted" aria-hidden="true">{row.sign}</span>
                <span class="hidden-text">{row.says} </span>
                <a class={row.depth ? '' : 'root'} href={href('kpis', [row.kpi.id])}>
                  {row.kpi.name}
                </a>
              </span>
            ),
          },
          { title: t.kpis.value, number: true, cell: value },
          { title: t.kpis.change, number: true, cell: (row) => <Lately kpi={row.kpi} points={newest.data?.series.get(row.kpi.id)} known={!!newest.data} /> },
          { title: t.kpis.target, wide: true, cell: (row) => <Target kpi={row.kpi} /> },
          { title: t.kpis.guardrail, wide: true, cell: (row) => <Guardrail kpi={row.kpi} /> },
          { title: t.kpis.owners, wide: true, cell: (row) => <Owners kpi={row.kpi} /> },
        ]}
      />
    </Card>
  );
}
