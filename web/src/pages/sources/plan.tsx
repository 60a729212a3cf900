/* The tracking plan: read as a list, edited as TOML, proposed from the data, kept in versions. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { Problem } from '../../api/client';
import { may, useSession, whoIs } from '../../api/session';
import { plan, planText, planVersions, proposedPlan, savePlan, type PlanEvent, type PlanProperty } from '../../api/sources';
import { ago, moment } from '../../format';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Badge, Card, Empty, Failure, WaitingCard, type Tone } from '../../ui/parts';
import { say } from '../../ui/toast';
import { Table } from '../../ui/table';

const CLASSES: Record<string, Tone> = { public: 'good', internal: 'accent', personal: 'warn', sensitive: 'bad' };
const STATUS: Record<string, Tone> = { live: 'good', planned: 'accent', retired: 'bad' };

function rules(property: PlanProperty): string {
  const said: string[] = [];
  if (property.allowed) said.push(property.allowed.join(', '));
  if (property.pattern) said.push(property.pattern);
  if (property.min !== undefined) said.push(`≥ ${property.min}`);
  if (property.max !== undefined) said.push(`≤ ${property.max}`);
  return said.join(' · ');
}

function EventEntry({ name, event }: { name: string; event: PlanEvent }) {
  const properties = Object.entries(event.property ?? {});
  const owners = [event.owner_business, event.owner_technical].filter(Boolean).join(' · ');
  return (
    <details class="tail-line">
      <summary>
        <strong>{name}</strong>
        <Badge tone={STATUS[event.status ?? 'live'] ?? ''}>{event.status ?? 'live'}</Badge>
        <span class="muted">{t.sources.plan.properties(properties.length)}</span>
        {owners && <span class="muted">{owners}</span>}
        {event.description && <span class="tail-reason">{event.description}</span>}
      </summary>
      <Table
        caption={name}
        rows={properties}
        rowKey={([property]) => property}
        columns={[
          { title: t.sources.plan.property, cell: ([property]) => <code>{property}</code> },
          { title: t.sources.plan.type, cell: ([, said]) => <span>{said.type ?? 'any'} {said.required && <Badge>{t.sources.plan.required}</Badge>}</span> },
          { title: t.sources.plan.cls, cell: ([, said]) => (said.class ? <Badge tone={CLASSES[said.class] ?? ''}>{said.class}</Badge> : '') },
          { title: t.sources.plan.rules, cell: ([, said]) => <span class="muted">{rules(said) || said.description}</span> },
        ]}
      />
    </details>
  );
}

interface Draft {
  title: string;
  text: string;
}

function Editing({ draft, onClose, onSaved }: { draft: Draft; onClose: () => void; onSaved: () => void }) {
  const [text, setText] = useState(draft.text);
  const [problem, setProblem] = useState<Problem>();
  const session = useSession();
  const who = session.state === 'in' ? whoIs(session.user) : '';
  const save = async () => {
    try {
      const said = await savePlan(text, who);
      say(t.sources.plan.saved(said.version));
      onSaved();
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, 'failed', String(error)));
    }
  };
  return (
    <Dialog
      title={draft.title}
      onClose={onClose}
      footer={
        <>
          <button type="button" class="button" onClick={onClose}>
            {t.common.cancel}
          </button>
          <button type="button" class="button primary" onClick={() => void save()}>
            {t.sources.plan.inForce}
          </button>
        </>
      }
    >
      <textarea class="input mono plan-text" rows={18} spellcheck={false} aria-label={draft.title} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      {problem && <Failure problem={problem} />}
    </Dialog>
  );
}

export function PlanPage() {
  const now = useAsk('plan', plan);
  const versions = useAsk('versions', planVersions);
  const [draft, setDraft] = useState<Draft>();
  const edit = (title: string, text: Promise<string>) => {
    text.then((said) => setDraft({ title, text: said })).catch((error: Error) => say(error.message, { bad: true }));
  };
  if (now.problem) return <Failure problem={now.problem} again={now.again} />;
  if (!now.data) return <WaitingCard lines={8} />;
  const events = Object.entries(now.data.plan.event).sort(([a], [b]) => a.localeCompare(b));
  const last = versions.data?.find((version) => version.version === now.data?.version);
  return (
    <>
      <Card
        title={t.sources.tabs.plan}
        note={last ? t.sources.plan.version(last.version, last.who, ago(last.at)) : t.sources.plan.lead}
        actions={
          may('plan.write') && <>
            <button type="button" class="button small" onClick={() => edit(t.sources.plan.proposalTitle, proposedPlan())}>
              {t.sources.plan.propose}
            </button>
            <button type="button" class="button small primary" onClick={() => edit(t.sources.plan.editTitle, planText())}>
              {t.sources.plan.edit}
            </button>
          </>
        }
      >
        {events.length === 0 ? (
          <Empty icon="check" title={t.sources.plan.none}>
            <p>{t.sources.plan.noneWhy}</p>
          </Empty>
        ) : (
          <div class="stack">
            <p class="muted">{t.sources.plan.rest(now.data.plan.unplanned_events, now.data.plan.unplanned_properties)}</p>
            <div class="tail">
              {events.map(([name, event]) => (
                <EventEntry key={name} name={name} event={event} />
              ))}
            </div>
          </div>
        )}
      </Card>
      {!!versions.data?.length && (
        <Card title={t.sources.plan.versions} flush>
          <Table
            caption={t.sources.plan.versions}
            rows={[...versions.data].sort((a, b) => b.version - a.version)}
            rowKey={(row) => row.version}
            columns={[
              { title: t.sources.plan.number, cell: (row) => String(row.version) },
              { title: t.sources.plan.at, brief: true, cell: (row) => moment(row.at) },
              { title: t.sources.plan.by, cell: (row) => row.who },
              { title: t.sources.events, number: true, cell: (row) => String(row.events) },
              {
                title: '',
                cell: (row) => (
                  <button type="button" class="button small" onClick={() => edit(`${t.sources.plan.number} ${row.version}`, planText(row.version))}>
                    {t.sources.plan.show}
                  </button>
                ),
              },
            ]}
          />
        </Card>
      )}
      {draft && (
        <Editing
          draft={draft}
          onClose={() => setDraft(undefined)}
          onSaved={() => {
            setDraft(undefined);
            now.again();
            versions.again();
          }}
        />
      )}
    </>
  );
}
