/* One customer: who, what joined the identifiers, traits, totals, and the timeline. */
import { useState } from 'preact/hooks';
import { useAsk, type Asked } from '../../api/ask';
import { loadSchema, paying } from '../../api/company';
import { memberships, profile, type Identifier, type Membership, type Profile } from '../../api/customers';
import { may } from '../../api/session';
import { ago, count, day, moment, money } from '../../format';
import { href } from '../../router';
import { t } from '../../texts';
import { Copy } from '../../ui/copy';
import { Badge, Bar, Card, Failure, Missing, PageHead, Stat, Waiting, WaitingCard } from '../../ui/parts';
import { Timeline } from './timeline';
import { plain } from './values';

const FIRST_EVENTS = 100;

function nameOf(who: Profile, id: string): string {
  const said = (name: string): string => (typeof who.traits[name] === 'string' ? String(who.traits[name]) : '');
  const whole = said('name') || [said('firstName') || said('first_name'), said('lastName') || said('last_name')].filter(Boolean).join(' ');
  return whole || said('email') || who.identifiers.find((one) => one.type === 'user_id')?.id || id;
}

function Identifiers({ all }: { all: Identifier[] }) {
  return (
    <Card title={t.customers.identifiers} note={t.customers.identifiersNote}>
      <ul class="ids">
        {all.map((one) => (
          <li key={`${one.type}${one.id}`}>
            <div class="row">
              <Badge tone={one.type === 'user_id' ? 'accent' : ''}>{one.type}</Badge>
              <code class="clip" title={one.id}>
                {one.id}
              </code>
              <Copy text={one.id} />
            </div>
            <p class="muted">
              {one.joined_by ? (t.customers.joined[one.joined_by] ?? one.joined_by) : t.customers.original}
              {one.time && `, ${moment(one.time)}`}
            </p>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Traits({ traits }: { traits: Record<string, unknown> }) {
  const names = Object.keys(traits);
  return (
    <Card title={t.customers.traits}>
      {names.length === 0 && <p class="muted">{t.customers.noTraits}</p>}
      <dl class="pairs">
        {names.map((name) => (
          <>
            <dt key={name}>{name}</dt>
            <dd>{plain(traits[name])}</dd>
          </>
        ))}
      </dl>
    </Card>
  );
}

function Totals({ who, id }: { who: Profile; id: string }) {
  const most = Math.max(1, ...who.totals.map((total) => total.count));
  const sorted = [...who.totals].sort((a, b) => b.count - a.count);
  return (
    <Card title={t.customers.totals}>
      <ul class="lines totals">
        {sorted.map((total) => (
          <li key={total.event}>
            <a class="clip" href={href('customers', [id], { only: total.event })}>
              {total.event}
            </a>
            <Bar share={total.count / most} />
            <strong class="num">{count(total.count)}</strong>
            <span class="muted num" title={moment(total.last)}>
              {ago(total.last)}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/* Where he is now; saved segments keep themselves right. */
function Audiences({ asked }: { asked: Asked<Membership[]> }) {
  return (
    <Card title={t.customers.segments}>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <Waiting lines={2} />}
      {asked.data?.length === 0 && <p class="muted">{t.customers.noSegments}</p>}
      <ul class="lines memberships">
        {asked.data?.map((one) => (
          <li key={one.id}>
            {may('query') ? <a href={href('audiences', [String(one.id)])}>{one.name}</a> : one.name}
            <span class="muted" title={moment(one.since)}>
              {one.exact ? t.customers.since(ago(one.since)) : t.customers.atLeastSince(day(one.since))}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/* What was spent, where all events are here to be added up. */
function Spent({ who }: { who: Profile }) {
  const schema = useAsk(may('query') ? 'schema' : null, loadSchema);
  const pays = schema.data && paying(schema.data);
  const amount = pays?.amount;
  if (!pays || !amount || who.timeline.length < who.events) return null;
  const orders = who.timeline.filter((event) => event.event === pays.event);
  const sum = orders.reduce((all, event) => all + (Number(event.properties[amount]) || 0), 0);
  return <Stat what={t.customers.stats.spent} value={money(sum)} note={t.customers.orders(orders.length, pays.event)} />;
}

export function Customer({ id, only }: { id: string; only: string }) {
  const [events, setEvents] = useState(FIRST_EVENTS);
  const asked = useAsk(`${id} ${events}`, (signal) => profile(id, events, signal));
  const within = useAsk(`memberships ${id}`, (signal) => memberships(id, signal));
  const [shown, show] = useState<Profile>();
  if (asked.data && asked.data !== shown) show(asked.data);
  if (asked.problem?.status === 404) return <Missing icon="customers" page={t.customers.title} what={t.customers.noneHere(id)} all={t.customers.back} href="/customers" />;
  if (asked.problem) return <Failure problem={asked.problem} again={asked.again} />;
  const who = shown ?? asked.data;
  if (!who) return <WaitingCard lines={10} />;
  const known = who.identifiers.some((one) => one.type === 'user_id');
  const first = who.totals.reduce((least, total) => (total.first < least ? total.first : least), who.totals[0]?.first ?? '');
  const last = who.totals.reduce((most, total) => (total.last > most ? total.last : most), '');
  return (
    <>
      <PageHead
        title={nameOf(who, id)}
        lead={
          <span class="row">
            <Badge tone={known ? 'good' : ''}>{known ? t.customers.identified : t.customers.anonymous}</Badge>
            <code>{who.identifiers[0]?.id}</code>
          </span>
        }
        back={{ href: '/customers', text: t.customers.back }}
      />
      <div class="grid stats">
        <Stat what={t.customers.stats.events} value={count(who.events)} />
        {first && <Stat words what={t.customers.stats.first} value={ago(first)} note={day(first)} />}
        {last && <Stat words what={t.customers.stats.last} value={ago(last)} note={day(last)} />}
        <Spent who={who} />
      </div>
      <div class="split">
        <Timeline
          events={who.timeline}
          all={who.events}
          kinds={who.totals}
          only={only}
          link={(kind) => href('customers', [id], { only: kind })}
          busy={asked.busy}
          more={who.timeline.length < who.events ? () => setEvents(Math.min(10_000, events * 5)) : undefined}
        />
        <div class="stack">
          <Audiences asked={within} />
          <Traits traits={who.traits} />
          <Identifiers all={who.identifiers} />
          <Totals who={who} id={id} />
        </div>
      </div>
    </>
  );
}
