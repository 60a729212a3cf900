/* Audiences: /audiences lists them with their overlap, /audiences/new and /audiences/ID edit one. */
import { useAsk, useEvery } from '../../api/ask';
import { overlap, segment, segments, type Overlap } from '../../api/segments';
import { quoted } from '../../api/query';
import { may } from '../../api/session';
import { ago, percent } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { Badge, Card, Empty, Failure, Missing, PageHead, WaitingCard } from '../../ui/parts';
import { Table } from '../../ui/table';
import { useLeaving } from '../../ui/toast';
import { WhoFits } from '../../ui/who';
import './audiences.css';
import { Audience } from './editor';

const RENEW_MS = 5000;
const TONES = { filling: 'warn', live: 'good', failed: 'bad' } as const;

const inside = (name: string): string => `in segment ${quoted(name)}`;

function Matrix({ told }: { told: Overlap }) {
  return (
    <div class="scroll-x" tabIndex={0} role="region" aria-label={t.audiences.overlap}>
      <table class="triangle even">
        <caption class="hidden-text">{t.audiences.overlapNote}</caption>
        <thead>
          <tr>
            <td />
            {told.segments.map((one) => (
              <th key={one.id} scope="col" class="clip">
                {one.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {told.segments.map((row, i) => (
            <tr key={row.id}>
              <th scope="row" class="clip">{row.name}</th>
              {told.segments.map((column, k) => {
                const shared = told.overlap[i]?.[k];
                const share = row.size && shared ? shared / row.size : 0;
                return (
                  <td key={column.id} class="heat" style={{ '--part': i === k ? '0' : share.toFixed(3) }} title={shared === null ? t.audiences.few : percent(share)}>
                    <WhoFits n={shared ?? null} where={i === k ? inside(row.name) : `${inside(row.name)} and ${inside(column.name)}`} />
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function List() {
  const asked = useAsk('segments', segments);
  const shared = useAsk('overlap', overlap);
  useEvery(RENEW_MS, () => {
    asked.again();
    shared.again();
  });
  const add = may('segment.write') && (
    <a class="button primary" href="/audiences/new">
      <Icon name="plus" size={16} />
      {t.audiences.add}
    </a>
  );
  const leaving = useLeaving();
  const rows = asked.data?.filter((row) => !leaving.has(`segment ${row.id}`));
  const open = (id: number): string => href('audiences', [String(id)]);
  return (
    <>
      <PageHead title={t.audiences.title} lead={t.audiences.lead}>
        {add}
      </PageHead>
      {asked.problem && !asked.data && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <WaitingCard lines={6} />}
      {rows?.length === 0 && (
        <Card>
          <Empty icon="audiences" title={t.audiences.emptyTitle}>
            <p>{t.audiences.emptyWhy}</p>
            {add}
          </Empty>
        </Card>
      )}
      {!!rows?.length && (
        <Card flush>
          <Table
            caption={t.audiences.title}
            rows={rows}
            rowKey={(row) => row.id}
            onRow={(row) => go(open(row.id))}
            columns={[
              {
                title: t.audiences.name,
                sort: (row) => row.name,
                cell: (row) => (
                  <span class="row">
                    <a href={open(row.id)}>{row.name}</a>
                    <Badge tone={TONES[row.state]}>
                      {t.audiences.state[row.state]} {row.filled ? percent(row.filled) : ''}
                    </Badge>
                  </span>
                ),
              },
              { title: t.audiences.size, number: true, sort: (row) => row.size, cell: (row) => <strong><WhoFits n={row.size} where={inside(row.name)} /></strong> },
              { title: t.audiences.condition, wide: true, cell: (row) => <code class="said">{row.query}</code> },
              { title: t.audiences.owners, wide: true, cell: (row) => <span class="muted">{[row.owners.marketing, row.owners.it].filter(Boolean).join(' · ')}</span> },
              { title: t.audiences.changed, brief: true, wide: true, sort: (row) => row.changed_at, cell: (row) => <span class="muted">{ago(row.changed_at)}</span> },
            ]}
          />
        </Card>
      )}
      {shared.data && shared.data.segments.length > 1 && (
        <Card title={t.audiences.overlap} note={t.audiences.overlapNote}>
          <Matrix told={shared.data} />
        </Card>
      )}
    </>
  );
}

function Saved({ id }: { id: number }) {
  const asked = useAsk(`segment ${id}`, (signal) => segment(id, signal));
  if (asked.problem?.status === 404) return <Missing icon="audiences" page={t.audiences.title} what={t.audiences.noneHere} all={t.audiences.all} href="/audiences" />;
  if (asked.problem) return <Failure problem={asked.problem} again={asked.again} />;
  return asked.data ? <Audience key={id} saved={asked.data} /> : <WaitingCard lines={8} />;
}

export default function Audiences({ place }: { place: Place }) {
  const which = place.rest[0];
  if (!which) return <List />;
  return which === 'new' ? <Audience key="new" saved={null} begin={place.query.get('q') ?? ''} /> : <Saved id={Number(which)} />;
}
