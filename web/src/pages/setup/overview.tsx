/* The company, health, sources with their write keys, and how SDKs are pointed here. */
import { useAsk, useEvery } from '../../api/ask';
import { get } from '../../api/client';
import { loadCompany } from '../../api/company';
import { may } from '../../api/session';
import { fates, held } from '../../api/sources';
import { count } from '../../format';
import type { Place } from '../../router';
import { t } from '../../texts';
import { Badge, Card, Failure, Waiting } from '../../ui/parts';
import { SourcesCard } from './sources';

const RENEW_MS = 10_000;
const HOUR_MS = 3600_000;

function Company() {
  const asked = useAsk('company', loadCompany);
  const company = asked.data;
  return (
    <Card title={t.setup.company} note={t.setup.companyNote}>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!company && !asked.problem && <Waiting />}
      {company && (
        <dl class="pairs">
          <dt>{t.setup.companyRows.zone}</dt>
          <dd>{company.time_zone}</dd>
          <dt>{t.setup.companyRows.currency}</dt>
          <dd>{company.currency || t.setup.noCurrency}</dd>
          <dt>{t.setup.companyRows.stored}</dt>
          <dd>{t.setup.stored(company.events, company.bytes)}</dd>
          <dt>{t.setup.companyRows.version}</dt>
          <dd>
            {company.version} · <a href="/openapi.json" data-outside target="_blank" rel="noreferrer">{t.setup.docs}</a>
          </dd>
        </dl>
      )}
    </Card>
  );
}

interface Health {
  ready: string | null; // what is wrong
  kept?: { open: number; limit: number };
  received?: number;
}

async function health(signal: AbortSignal): Promise<Health> {
  const ready = await get('/readyz', signal).then(
    () => null,
    (error: Error) => error.message,
  );
  if (!may('event.read')) return { ready };
  const from = new Date(Date.now() - HOUR_MS).toISOString();
  const [kept, told] = await Promise.all([held('limit=1', signal), fates(null, `step=minute&from=${from}`, signal)]);
  return { ready, kept, received: told.total.received };
}

function HealthCard() {
  const asked = useAsk('health', health);
  useEvery(RENEW_MS, asked.again);
  const said = asked.data;
  return (
    <Card title={t.setup.health} note={t.setup.healthNote}>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!said && !asked.problem && <Waiting />}
      {said && (
        <dl class="pairs">
          <dt>{t.setup.alive}</dt>
          <dd>
            {said.ready === null ? <Badge tone="good">{t.setup.ready}</Badge> : <Badge tone="bad">{t.setup.notReady}</Badge>} {said.ready}
          </dd>
          {said.received !== undefined && (
            <>
              <dt>{t.setup.received}</dt>
              <dd>{count(said.received)}</dd>
            </>
          )}
          {said.kept && (
            <>
              <dt>{t.setup.quarantine}</dt>
              <dd>
                <a href="/sources/quarantine">{t.setup.quarantineFull(said.kept.open, said.kept.limit)}</a>
              </dd>
            </>
          )}
        </dl>
      )}
    </Card>
  );
}

export function Overview({ place }: { place: Place }) {
  return (
    <>
      <div class="grid">
        <Company />
        <HealthCard />
      </div>
      {may('source.admin') && <SourcesCard place={place} />}
    </>
  );
}
