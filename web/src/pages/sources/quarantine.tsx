/* The quarantine: what waits, why, and what to do with it. The filter is in the address. Discarding
 * waits a few seconds before it is sent, so that it can be taken back. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { discard, held, heldOne, replay, sources, type Held } from '../../api/sources';
import { may } from '../../api/session';
import { ago, moment } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Badge, Card, Empty, Failure, Waiting } from '../../ui/parts';
import { failed, say, soon } from '../../ui/toast';

const PAGE = 100;
const STATES = ['open', 'replayed', 'discarded', 'all'] as const;
const CODES = ['unplanned_event', 'retired_event', 'unplanned_property', 'missing_property', 'wrong_type', 'value_not_allowed', 'pattern_not_met', 'out_of_range'];

async function replayNow(query: string): Promise<void> {
  try {
    const said = await replay(query);
    say(t.sources.quarantine.replayed(said.accepted, said.duplicate, said.quarantined));
  } catch (error) {
    failed(error);
  }
}

const discardSoon = (query: string, what: string, done: () => void): void =>
  soon(`held ${query}`, t.sources.quarantine.discarding(what), () =>
    discard(query)
      .then((said) => say(t.sources.quarantine.discarded(said.discarded)))
      .finally(done),
  );

function Entry({ event, changed }: { event: Held; changed: () => void }) {
  const [open, setOpen] = useState(false);
  const whole = useAsk(open ? `held ${event.id}` : null, (signal) => heldOne(event.id, signal));
  return (
    <details class="tail-line opens" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>
        <time class="muted" title={moment(event.received_at)}>
          {ago(event.received_at)}
        </time>
        <strong>{event.event}</strong>
        <span class="muted">{event.source}</span>
        {event.user && <code class="clip">{event.user}</code>}
        {event.state !== 'open' && <Badge tone={event.state === 'replayed' ? 'good' : ''}>{t.sources.quarantine.states[event.state]}</Badge>}
        <span class="tail-reason">{event.reasons.map((reason) => reason.message).join(' · ')}</span>
      </summary>
      <div class="stack">
        {event.reasons.map((reason) => (
          <p key={reason.message}>
            {reason.code !== reason.message && <Badge tone="warn">{reason.code}</Badge>} {reason.message}
          </p>
        ))}
        {event.state === 'open' && may('source.admin') && (
          <div class="row">
            <button type="button" class="button small primary" onClick={() => void replayNow(`id=${event.id}`).then(changed)}>
              {t.sources.quarantine.replay}
            </button>
            <button type="button" class="button small danger" onClick={() => discardSoon(`id=${event.id}`, t.sources.quarantine.one, changed)}>
              {t.sources.quarantine.discard}
            </button>
          </div>
        )}
        {whole.problem && <Failure problem={whole.problem} />}
        {open && !whole.data && !whole.problem && <Waiting lines={3} />}
        {whole.data && (
          <>
            <p class="muted">{t.sources.quarantine.json}</p>
            <pre class="code wrap">{JSON.stringify(whole.data.json, null, 2)}</pre>
          </>
        )}
      </div>
    </details>
  );
}

export function Quarantine({ place }: { place: Place }) {
  const [confirm, setConfirm] = useState(false);
  const known = useAsk(may('source.admin') ? 'sources' : null, sources);
  const chosen = { source: place.query.get('source') ?? '', reason: place.query.get('reason') ?? '', event: place.query.get('event') ?? '', state: place.query.get('state') ?? '' };
  const filter = new URLSearchParams();
  for (const name of ['source', 'reason', 'event'] as const) if (chosen[name]) filter.set(name, chosen[name]);
  const shown = new URLSearchParams(filter);
  if (chosen.state) shown.set('state', chosen.state);
  const [limit, setLimit] = useState(PAGE);
  shown.set('limit', String(limit));
  const asked = useAsk(`held ${shown}`, (signal) => held(shown.toString(), signal));
  const set = (name: keyof typeof chosen, value: string) => go(href('sources', ['quarantine'], { ...chosen, [name]: value }), 'replace');
  const nothing = asked.data && asked.data.events.length === 0;
  const filtered = Object.values(chosen).some(Boolean);
  return (
    <Card
      title={t.sources.tabs.quarantine}
      note={asked.data ? t.sources.quarantine.open(asked.data.open, asked.data.limit) : undefined}
      actions={
        may('source.admin') && asked.data && asked.data.open > 0 ? (
          <>
            <button type="button" class="button small" onClick={() => void replayNow(filter.toString()).then(asked.again)}>
              {t.sources.quarantine.replayAll}
            </button>
            <button type="button" class="button small danger" onClick={() => setConfirm(true)}>
              {t.sources.quarantine.discardAll}
            </button>
          </>
        ) : undefined
      }
    >
      <div class="stack">
        <p class="muted">{t.sources.quarantine.lead}</p>
        <div class="filters">
          <select class="input" aria-label={t.sources.quarantine.state} value={chosen.state || 'open'} onChange={(event) => set('state', event.currentTarget.value === 'open' ? '' : event.currentTarget.value)}>
            {STATES.map((state) => (
              <option key={state} value={state}>
                {t.sources.quarantine.states[state]}
              </option>
            ))}
          </select>
          <select class="input" aria-label={t.sources.source} value={chosen.source} onChange={(event) => set('source', event.currentTarget.value)}>
            <option value="">{t.sources.tail.all}</option>
            {known.data?.map((source) => <option key={source.id}>{source.name}</option>)}
          </select>
          <select class="input" aria-label={t.sources.reason} value={chosen.reason} onChange={(event) => set('reason', event.currentTarget.value)}>
            <option value="">{t.sources.quarantine.anyReason}</option>
            {CODES.map((code) => (
              <option key={code}>{code}</option>
            ))}
          </select>
          <input class="input" aria-label={t.sources.tail.event} placeholder={t.sources.tail.event} value={chosen.event} onChange={(event) => set('event', event.currentTarget.value)} />
        </div>
        {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
        {!asked.data && !asked.problem && <Waiting />}
        {nothing && (
          <Empty icon="check" title={t.sources.quarantine.emptyTitle}>
            {!filtered && (
              <>
                <p>{t.sources.quarantine.emptyWhy}</p>
                <a class="button" href="/sources/plan">
                  {t.sources.quarantine.emptyLink}
                </a>
              </>
            )}
          </Empty>
        )}
        <div class="tail">
          {asked.data?.events.map((event) => (
            <Entry key={event.id} event={event} changed={asked.again} />
          ))}
        </div>
        {asked.data?.next_cursor && (
          <p>
            <button type="button" class="button small" onClick={() => setLimit(limit + PAGE)}>
              {t.sources.quarantine.more}
            </button>
          </p>
        )}
      </div>
      {confirm && (
        <Dialog
          title={t.sources.quarantine.confirmTitle}
          onClose={() => setConfirm(false)}
          footer={
            <>
              <button type="button" class="button" onClick={() => setConfirm(false)}>
                {t.common.cancel}
              </button>
              <button
                type="button"
                class="button danger"
                onClick={() => {
                  setConfirm(false);
                  discardSoon(filter.toString(), t.sources.quarantine.some, asked.again);
                }}
              >
                {t.sources.quarantine.discard}
              </button>
            </>
          }
        >
          <p>{t.sources.quarantine.confirmText}</p>
        </Dialog>
      )}
    </Card>
  );
}
