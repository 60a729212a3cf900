/* A customer's events, the newest first, by day; a long pause is marked. Each opens to all it said. */
import { useState } from 'preact/hooks';
import type { TimelineEvent, Total } from '../../api/customers';
import { clock, count, dayKey, duration, longDay } from '../../format';
import { t } from '../../texts';
import { Badge, Card } from '../../ui/parts';
import { gist, Pairs } from './values';

const PAUSE_S = 30 * 60; // what ends a visit
const KINDS_SHOWN = 8;

interface TimelineProps {
  events: TimelineEvent[];
  all: number;
  kinds: Total[];
  only: string;
  link: (kind: string | undefined) => string;
  busy: boolean;
  more: (() => void) | undefined;
}

/* The same event has the same colour on every page of a customer. */
function colorOf(event: string): number {
  let sum = 0;
  for (const letter of event) sum = (sum * 31 + letter.charCodeAt(0)) % 997;
  return (sum % 8) + 1;
}

/* The timeline says page "Home", totals say page. */
const isKind = (event: string, kind: string): boolean => event === kind || event.startsWith(`${kind} "`);

function Entry({ event, before }: { event: TimelineEvent; before: TimelineEvent | undefined }) {
  const gap = before ? (new Date(event.time).getTime() - new Date(before.time).getTime()) / 1000 : 0;
  const channel = event.context['channel'];
  const [open, setOpen] = useState(false);
  return (
    <>
      <li class="entry">
        <time dateTime={event.time}>{clock(event.time)}</time>
        <i class={`dot series-${colorOf(event.event)}`} />
        <details class="opens" onToggle={(toggle) => setOpen(toggle.currentTarget.open)}>
          <summary>
            <strong>{event.event}</strong>
            {typeof channel === 'string' && <Badge><span class="clip">{channel}</span></Badge>}
            <span class="gist">
              {gist(event.properties).map(([name, value]) => (
                <span key={name}>
                  <span class="muted">{name}</span> {value.length > 60 ? `${value.slice(0, 59)}…` : value}
                </span>
              ))}
            </span>
          </summary>
          {open && (
            <div class="entry-all">
              {Object.keys(event.properties).length ? <Pairs of={event.properties} /> : <p class="muted">{t.customers.none}</p>}
              <h3>{t.customers.context}</h3>
              <Pairs of={event.context} />
            </div>
          )}
        </details>
      </li>
      {gap > PAUSE_S && before && dayKey(event.time) === dayKey(before.time) && (
        <li class="pause muted">
          <span>{t.customers.pause(duration(gap))}</span>
        </li>
      )}
    </>
  );
}

export function Timeline({ events, all, kinds, only, link, busy, more }: TimelineProps) {
  const shown = only ? events.filter((event) => isKind(event.event, only)) : events;
  const days = new Map<string, TimelineEvent[]>();
  for (const event of shown) {
    const key = dayKey(event.time);
    const list = days.get(key) ?? [];
    list.push(event);
    days.set(key, list);
  }
  const frequent = [...kinds].sort((a, b) => b.count - a.count).slice(0, KINDS_SHOWN);
  return (
    <Card title={t.customers.timeline} note={more ? t.customers.newest(events.length, all) : t.customers.all(all)}>
      <nav class="row chips no-print" aria-label={t.customers.filter}>
        <a class="chip" href={link(undefined)} aria-current={only ? undefined : 'true'}>
          {t.customers.everything}
        </a>
        {frequent.map((kind) => (
          <a key={kind.event} class="chip" href={link(kind.event)} aria-current={only === kind.event ? 'true' : undefined}>
            <i class={`dot series-${colorOf(kind.event)}`} />
            <span class="clip">{kind.event}</span> <span class="muted">{count(kind.count)}</span>
          </a>
        ))}
      </nav>
      {shown.length === 0 && <p class="muted">{t.customers.noEvents}</p>}
      {[...days].map(([key, list]) => (
        <section key={key} class="day">
          <h3>{longDay(list[0]?.time ?? key)}</h3>
          <ol>
            {list.map((event, i) => (
              <Entry key={`${event.time}${event.event}${i}`} event={event} before={list[i + 1]} />
            ))}
          </ol>
        </section>
      ))}
      {more && (
        <p class="row">
          <button type="button" class="button" disabled={busy} onClick={more}>
            {busy ? t.common.loading : t.customers.more}
          </button>
        </p>
      )}
    </Card>
  );
}
