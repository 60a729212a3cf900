/* The audit log, newest first; whether its chain holds; who looked at a customer. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { audit, verifyAudit, type AuditRecord, type Verdict } from '../../api/guard';
import { ago, moment } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Badge, Card, Empty, Failure, Waiting } from '../../ui/parts';
import { Table } from '../../ui/table';
import { failed } from '../../ui/toast';

const PAGE = 100;
const words = t.guard.audit;

function Outcome({ code }: { code: number }) {
  if (code < 400) return <span class="muted">{words.outcomes(code)}</span>;
  return <Badge tone={code < 500 ? 'warn' : 'bad'}>{words.outcomes(code)}</Badge>;
}

/* What a request was, in words; the request itself where there are none. */
function What({ record }: { record: AuditRecord }) {
  const said = words.acts[record.act];
  return (
    <span class="two">
      {said ? <span title={record.act}>{said}</span> : <code>{record.act}</code>}
      {record.object && record.object !== record.act.split(' ')[1] && <small class="muted clip">{record.object}</small>}
    </span>
  );
}

function Verify() {
  const [verdict, tell] = useState<Verdict>();
  if (verdict) return <p class={verdict.intact ? 'verdict good' : 'verdict bad'} role="status">{verdict.intact ? words.intact(verdict.records, verdict.head) : words.broken(verdict.why ?? '')}</p>;
  return (
    <button type="button" class="button" onClick={() => void verifyAudit().then(tell).catch(failed)}>
      {words.verify}
    </button>
  );
}

export function Audit({ place }: { place: Place }) {
  const customer = place.query.get('customer') ?? '';
  const [older, setOlder] = useState<{ of: string; records: AuditRecord[]; next?: string | undefined }>();
  const asked = useAsk(`audit ${customer}`, (signal) => audit(PAGE, customer, undefined, signal));
  const more = older?.of === customer ? older : undefined;
  const rows = [...(asked.data?.records ?? []), ...(more?.records ?? [])];
  const next = more ? more.next : asked.data?.next_cursor;
  const load = () =>
    void audit(PAGE, customer, next)
      .then((said) => setOlder({ of: customer, records: [...(more?.records ?? []), ...said.records], next: said.next_cursor }))
      .catch(failed);
  return (
    <Card title={words.title} note={words.note}>
      <div class="stack">
        <div class="filters">
          <label class="field wide">
            <span>{words.customer}</span>
            <input class="input" placeholder={words.customerHint} value={customer} onChange={(event) => go(href('setup', ['audit'], { customer: event.currentTarget.value.trim() }), 'replace')} />
          </label>
          <Verify />
        </div>
        {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
        {!asked.data && !asked.problem && <Waiting lines={8} />}
        {asked.data && rows.length === 0 && (
          <Empty icon="check" title={words.emptyTitle}>
            {customer && <p>{words.emptyCustomer}</p>}
          </Empty>
        )}
        {rows.length > 0 && (
          <Table
            caption={words.title}
            rows={rows}
            limit={1000}
            rowKey={(row) => row.n}
            columns={[
              { title: words.at, brief: true, cell: (row) => <span title={moment(row.at)}>{ago(row.at)}</span> },
              { title: words.who, brief: true, cell: (row) => row.who },
              { title: words.act, cell: (row) => <What record={row} /> },
              { title: words.outcome, brief: true, cell: (row) => <Outcome code={row.outcome} /> },
              { title: words.from, brief: true, cell: (row) => <code class="muted">{row.from}</code> },
            ]}
          />
        )}
        {next && (
          <p>
            <button type="button" class="button small" onClick={load}>
              {words.more}
            </button>
          </p>
        )}
      </div>
    </Card>
  );
}
