/* The questions behind Today, and their answers side by side with those of a week ago: the same
 * question as of then. */
import { post } from '../../api/client';
import { loadSchema, paying, type Schema } from '../../api/company';
import { named, quoted, type Answer } from '../../api/query';
import { dayKey } from '../../format';

const WEEK_MS = 7 * 86400_000;
const FEWEST = 20; // events that a change is worth telling of
const MOST_MOVED = 8;

export interface Figure {
  name: string;
  money: boolean;
  now: number | null; // null: not told to this reader
  before: number | null;
  days: (number | null)[];
  query: string;
}

export interface Moved {
  event: string;
  now: number;
  before: number;
}

const asOf = (query: string, at: string | undefined, signal: AbortSignal): Promise<Answer> => post('/api/v1/query', at ? { query, at } : { query }, signal);
const weekAgo = (): string => new Date(Date.now() - WEEK_MS).toISOString();

/* What is counted: events, people, and the event that pays, if it is there. */
function measures(schema: Schema): { text: string; name: string; money: boolean }[] {
  const list = [
    { text: 'events', name: 'events', money: false },
    { text: 'unique customers', name: 'people', money: false },
  ];
  const pays = paying(schema);
  if (!pays) return list;
  list.push({ text: `events of ${quoted(pays.event)}`, name: pays.event, money: false });
  if (pays.amount) list.push({ text: `sum(${quoted(pays.event)}.${named(pays.amount)})`, name: pays.amount, money: true });
  return list;
}

export async function figures(signal: AbortSignal): Promise<Figure[]> {
  const wanted = measures(await loadSchema());
  const all = wanted.map((measure) => measure.text).join(', ');
  const [now, before, days] = await Promise.all([
    asOf(`total of ${all} during last 7 days`, undefined, signal),
    asOf(`total of ${all} during last 7 days`, weekAgo(), signal),
    asOf(`trend of ${all} by day during last 30 days`, undefined, signal),
  ]);
  const number = (answer: Answer, i: number): number | null => (answer.rows[0]?.[i] ?? null) as number | null;
  return wanted.map((measure, i) => ({
    name: measure.name,
    money: measure.money,
    now: number(now, i),
    before: number(before, i),
    days: whole(days).rows.map((row) => row[i + 1] as number | null),
    query: `trend of ${measure.text} by day during last 30 days`,
  }));
}

/* Without today, of which only a part is over, and the first day, of which only a part is asked for. */
function whole(answer: Answer): Answer {
  const edges = [dayKey(Date.now()), dayKey(Date.now() - 30 * 86400_000)];
  return { ...answer, rows: answer.rows.filter((row) => !edges.includes(String(row[0]))) };
}

export const byDay = async (signal: AbortSignal): Promise<Answer> =>
  whole(await asOf('trend of events, unique customers by day during last 30 days', undefined, signal));

export async function moved(signal: AbortSignal): Promise<Moved[]> {
  const query = 'total of events during last 7 days split by event';
  const [now, before] = await Promise.all([asOf(query, undefined, signal), asOf(query, weekAgo(), signal)]);
  const all = new Map<string, Moved>();
  const hidden = new Set<string>(); // of so few people that this reader is not told
  for (const [answer, which] of [[now, 'now'], [before, 'before']] as const)
    for (const row of answer.rows) {
      const event = String(row[0]);
      if (row[1] === null) hidden.add(event);
      const one = all.get(event) ?? { event, now: 0, before: 0 };
      one[which] = Number(row[1]);
      all.set(event, one);
    }
  const change = (one: Moved): number => Math.abs(Math.log((one.now + 1) / (one.before + 1)));
  return [...all.values()]
    .filter((one) => !hidden.has(one.event) && Math.max(one.now, one.before) >= FEWEST && change(one) > 0.1)
    .sort((a, b) => change(b) - change(a))
    .slice(0, MOST_MOVED);
}
