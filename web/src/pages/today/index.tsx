/* Today: what moved, the KPIs, and what became of the events of each source. Every number leads to
 * its question. */
import { useMemo } from 'preact/hooks';
import { useAsk, useEvery } from '../../api/ask';
import { loadCompany } from '../../api/company';
import { quoted, type Answer } from '../../api/query';
import { may } from '../../api/session';
import { fates, held, sources } from '../../api/sources';
import { count, longDay, money, people } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Chart } from '../../ui/chart';
import { Card, Empty, Failure, PageHead, Waiting, WaitingCard } from '../../ui/parts';
import { Change, Spark } from '../../ui/spark';
import { Table } from '../../ui/table';
import { openPeople } from '../../ui/who';
import { FateBar } from '../sources/fates';
import '../sources/sources.css';
import { byDay, figures, moved, type Figure } from './figures';
import { Kpis } from './kpis';
import '../kpis/kpis.css';
import './today.css';

const RENEW_MS = 60_000;
const DAY_MS = 86400_000;

const named = (figure: Figure): string =>
  figure.name === 'events' ? t.today.events : figure.name === 'people' ? t.today.people : figure.money ? t.today.sum(figure.name) : t.today.of(figure.name);

function Figures() {
  const asked = useAsk('figures', figures);
  useEvery(RENEW_MS, asked.again);
  if (asked.problem) return <Failure problem={asked.problem} again={asked.again} />;
  if (!asked.data)
    return (
      <WaitingCard lines={4} />
    );
  return (
    <section class="grid stats" aria-label={t.today.week}>
      {asked.data.map((figure) => {
        const write = figure.money ? money : count;
        return (
          <a key={figure.name} class="card stat figure" href={href('explore', [], { q: figure.query })}>
            <span class="what">{named(figure)}</span>
            <span class="value">{figure.now === null ? people(null) : write(figure.now)}</span>
            <span class="note">
              <Change now={figure.now} before={figure.before} /> {figure.before ? t.today.before(write(figure.before)) : figure.before === 0 ? t.today.new : ''}
            </span>
            <Spark values={figure.days} />
          </a>
        );
      })}
    </section>
  );
}

function Days({ answer }: { answer: Answer }) {
  const { times, series } = useMemo(
    () => ({
      times: answer.rows.map((row) => new Date(String(row[0])).getTime() / 1000),
      series: [
        { name: t.today.events, values: answer.rows.map((row) => row[1] as number | null) },
        { name: t.today.people, values: answer.rows.map((row) => row[2] as number | null) },
      ],
    }),
    [answer],
  );
  const pick = { may: (s: number) => s === 1, open: (_s: number, i: number) => void openPeople(answer.query, [answer.rows[i] ?? []], { column: answer.columns[2]?.name }) };
  return <Chart label={t.today.byDay} times={times} series={series} height={260} pick={pick} />;
}

function ByDay() {
  const asked = useAsk('by day', byDay);
  return (
    <Card title={t.today.byDay} note={t.today.byDayNote}>
      {asked.problem ? <Failure problem={asked.problem} again={asked.again} /> : asked.data ? <Days answer={asked.data} /> : <Waiting lines={6} />}
    </Card>
  );
}

function WhatMoved() {
  const asked = useAsk('moved', moved);
  const trend = (event: string): string => (/^(page|screen)( |$)|^(identify|group|alias)$/.test(event) ? `trend of events of ${event} by day during last 30 days` : `trend of events of ${quoted(event)} by day during last 30 days`);
  return (
    <Card title={t.today.moved} note={t.today.movedNote} flush={!!asked.data?.length}>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <Waiting />}
      {asked.data?.length === 0 && <p class="muted">{t.today.nothingMoved}</p>}
      {!!asked.data?.length && (
        <Table
          caption={t.today.moved}
          rows={asked.data}
          rowKey={(row) => row.event}
          onRow={(row) => go(href('explore', [], { q: trend(row.event) }))}
          columns={[
            { title: t.today.event, cell: (row) => <a href={href('explore', [], { q: trend(row.event) })}>{row.event}</a> },
            { title: t.today.now, number: true, cell: (row) => count(row.now) },
            { title: t.today.then, number: true, cell: (row) => <span class="muted">{count(row.before)}</span> },
            { title: t.today.change, number: true, cell: (row) => <Change now={row.now} before={row.before} /> },
          ]}
        />
      )}
    </Card>
  );
}

async function received(signal: AbortSignal) {
  const query = `step=hour&from=${new Date(Date.now() - DAY_MS).toISOString()}`;
  const [all, list, kept] = await Promise.all([fates(null, query, signal), may('source.admin') ? sources(signal) : [], held('limit=1', signal)]);
  const rows = await Promise.all(list.map(async (source) => ({ source, counts: (await fates(source.id, query, signal)).total })));
  return { all: all.total, rows: rows.filter((row) => row.counts.received > 0), waiting: kept.open };
}

function Received() {
  const asked = useAsk('received', received);
  useEvery(RENEW_MS / 4, asked.again);
  const told = asked.data;
  return (
    <Card title={t.today.fates} note={t.today.fatesNote}>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!told && !asked.problem && <Waiting />}
      {told && told.all.received === 0 && <p class="muted">{t.today.noFates}</p>}
      {told && told.all.received > 0 && (
        <ul class="lines received">
          {told.rows.map((row) => (
            <li key={row.source.id}>
              <a class="clip" href={href('sources', ['tail'], { source: row.source.name })}>
                {row.source.name}
              </a>
              <FateBar counts={row.counts} />
              <strong class="num">{count(row.counts.received)}</strong>
            </li>
          ))}
        </ul>
      )}
      {told && told.waiting > 0 && (
        <p class="waiting">
          <a href="/sources/quarantine">{t.today.waiting(told.waiting)}</a>
        </p>
      )}
    </Card>
  );
}

function Nothing() {
  return (
    <Card>
      <Empty icon="today" title={t.today.emptyTitle}>
        <p>{t.today.emptyWhy}</p>
        <a class="button primary" href="/setup">
          {t.today.emptySource}
        </a>
        <p>{t.today.emptyDemo}</p>
        <pre class="code">{'keel simulate --customers 5000 --days 60 --out events.ndjson\nkeel import --data DIR --segment events.ndjson'}</pre>
      </Empty>
    </Card>
  );
}

export default function Today(_: { place: Place }) {
  const company = useAsk('company', loadCompany);
  return (
    <>
      <PageHead title={t.today.title} lead={`${longDay(new Date())} · ${t.today.week}`} />
      {company.data?.events === 0 ? (
        <Nothing />
      ) : (
        <>
          <Figures />
          {may('kpi.read') && <Kpis />}
          <div class="split">
            <div class="stack">
              <ByDay />
              {may('event.read') && <Received />}
            </div>
            <WhatMoved />
          </div>
        </>
      )}
    </>
  );
}
