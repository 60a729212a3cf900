/* All sources with what became of their events in the last seven days; renewed every ten seconds. */
import { useMemo } from 'preact/hooks';
import { useAsk, useEvery } from '../../api/ask';
import { FATES, fates, sources, type Fates, type Source } from '../../api/sources';
import { may } from '../../api/session';
import { count } from '../../format';
import { go, href } from '../../router';
import { t } from '../../texts';
import { Chart } from '../../ui/chart';
import { Badge, Card, Empty, Failure, Stat, WaitingCard } from '../../ui/parts';
import { Table } from '../../ui/table';
import { FateBadge, FateBar } from './fates';

const RENEW_MS = 10_000;
const HOUR_S = 3600;

interface Told {
  all: Fates;
  rows: { source: Source; fates: Fates }[];
}

async function load(signal: AbortSignal): Promise<Told> {
  const [all, list] = await Promise.all([fates(null, 'step=hour', signal), may('source.admin') ? sources(signal) : []]);
  const rows = await Promise.all(list.map(async (source) => ({ source, fates: await fates(source.id, 'step=hour', signal) })));
  return { all, rows };
}

function ByHour({ told }: { told: Fates }) {
  const { times, series } = useMemo(() => {
    const from = Math.floor(new Date(told.from).getTime() / 1000 / HOUR_S) * HOUR_S;
    const to = Math.floor(new Date(told.to).getTime() / 1000 / HOUR_S) * HOUR_S;
    const at = new Map(told.points.map((point) => [new Date(point.at).getTime() / 1000, point]));
    const all: number[] = [];
    for (let time = from; time <= to; time += HOUR_S) all.push(time);
    const colors = { accepted: 1, duplicate: 8, quarantined: 2, refused: 4 };
    return { times: all, series: FATES.map((fate) => ({ name: t.sources.fates[fate], color: colors[fate], values: all.map((time) => at.get(time)?.[fate] ?? 0) })) };
  }, [told]);
  return <Chart label={t.sources.byHour} times={times} series={series} hours stacked height={220} />;
}

export function Overview() {
  const told = useAsk('fates', load);
  useEvery(RENEW_MS, told.again);
  if (told.problem && !told.data) return <Failure problem={told.problem} again={told.again} />;
  if (!told.data) return <WaitingCard lines={8} />;
  const { all, rows } = told.data;
  return (
    <>
      <div class="grid stats">
        <Stat what={t.sources.received} value={count(all.total.received)} note={t.sources.week} />
        {FATES.map((fate) => (
          <Stat key={fate} what={t.sources.fates[fate]} value={count(all.total[fate])} note={t.sources.fateNotes[fate]} />
        ))}
      </div>
      <Card title={t.sources.byHour}>
        {all.total.received === 0 ? (
          <Empty icon="sources" title={t.sources.noneTitle}>
            <p>{t.sources.noneWhy}</p>
            <a class="button primary" href="/setup">
              {t.sources.noneLink}
            </a>
          </Empty>
        ) : (
          <ByHour told={all} />
        )}
      </Card>
      {rows.length > 0 && <Card title={t.sources.bySource} flush>
        <Table
          caption={t.sources.bySource}
          rows={rows}
          rowKey={(row) => row.source.id}
          onRow={(row) => go(href('sources', ['tail'], { source: row.source.name }))}
          columns={[
            {
              title: t.sources.source,
              cell: (row) => (
                <span class="row">
                  <a href={href('sources', ['tail'], { source: row.source.name })}>{row.source.name}</a>
                  {row.source.state === 'off' && <Badge tone="bad">{t.sources.off}</Badge>}
                  {row.source.strict && <Badge>{t.sources.strict}</Badge>}
                </span>
              ),
              sort: (row) => row.source.name,
            },
            { title: '', cell: (row) => <FateBar counts={row.fates.total} /> },
            { title: t.sources.received, number: true, cell: (row) => count(row.fates.total.received), sort: (row) => row.fates.total.received },
            ...FATES.map((fate) => ({
              title: t.sources.fates[fate],
              number: true,
              cell: (row: Told['rows'][number]) => (row.fates.total[fate] ? count(row.fates.total[fate]) : <span class="muted">0</span>),
              sort: (row: Told['rows'][number]) => row.fates.total[fate],
            })),
          ]}
        />
      </Card>}
      <Card title={t.sources.reasons} flush={all.reasons.length > 0}>
        {all.reasons.length === 0 ? (
          <p class="muted">{t.sources.noReasons}</p>
        ) : (
          <Table
            caption={t.sources.reasons}
            rows={all.reasons}
            rowKey={(row) => `${row.fate} ${row.reason}`}
            columns={[
              { title: t.sources.reason, cell: (row) => row.reason, sort: (row) => row.reason },
              { title: t.sources.fate, cell: (row) => (FATES.some((fate) => fate === row.fate) ? <FateBadge fate={row.fate as (typeof FATES)[number]} /> : row.fate) },
              { title: t.sources.events, number: true, cell: (row) => count(row.count), sort: (row) => row.count },
            ]}
          />
        )}
      </Card>
    </>
  );
}
