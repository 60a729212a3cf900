/* The language, as far as an editor needs it: words to colour, and what can stand at the caret.
 * What is right is the server's to say; this only helps with typing. */
import { named, quoted } from '../../api/query';
import type { Property, Schema } from '../../api/company';

export interface Token {
  kind: 'text' | 'number' | 'word' | 'name' | 'comment' | 'space' | 'sign';
  text: string;
}

const FORMS = ['count customers', 'count customers where', 'list customers where', 'funnel', 'retention from first', 'trend of', 'total of', 'paths of 3 events', 'top 10', 'time from first', 'attribute', 'sessions with gap 30 minutes', 'repeat of', 'lifecycle of', 'rfm of', 'compare segment', 'compare customers where'];
const MORE = [
  'where', 'and', 'or', 'not', 'did', 'did not', 'at least 2 times', 'followed by', 'not followed by', 'within 7 days', 'by', 'by day', 'by week', 'by month',
  'during last 7 days', 'during last 30 days', 'since', 'before', 'among customers where', 'identified', 'anonymous', 'trait', 'in segment', 'any event', 'page', 'screen',
  'events of', 'unique customers of', 'sum(', 'count(', 'avg(', 'unique(', 'first(', 'last(', 'order by', 'desc', 'limit 20', 'with', 'over 8 weeks', 'contains', 'starts with',
  'exists', 'is missing', 'in (', 'between', 'percentiles 50, 90', 'starting at', 'ending at', 'without', 'with same', 'split by',
  'to last', 'to first', 'to linear', 'to decay', 'to position', 'to shapley', 'to markov', 'with half-life 7 days', 'with others', 'with at least 20 customers', 'any order',
];
const WORDS = new Set(
  `count customers where list funnel retention repeat trend total time paths top attribute sessions rfm of from first last each to by split day week month quarter year hour within during
   since before in on and or not did at least most exactly times followed among identified anonymous trait segment any all event events page screen identify group alias unique sum avg min max
   with gap same order asc desc limit over days weeks months hours minutes seconds years quarters second minute contains starts ends matches exists is missing between reached stopped step
   without starting ending percentiles recency frequency value true false lifecycle linear decay position shapley markov compare others any order change`.split(/\s+/),
);
const PATTERN = /(--[^\n]*)|("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)|(`[^`]*`?)|(\d[\d.:TZ-]*)|([\p{L}_][\p{L}\p{N}_.]*)|(\s+)|(.)/gu;

export function tokens(text: string): Token[] {
  return [...text.matchAll(PATTERN)].map((found): Token => {
    const [all, comment, literal, back, number, word, space] = found;
    if (comment) return { kind: 'comment', text: all };
    if (literal) return { kind: 'text', text: all };
    if (back) return { kind: 'name', text: all };
    if (number) return { kind: 'number', text: all };
    if (word) return { kind: WORDS.has(word.toLowerCase()) ? 'word' : 'name', text: all };
    return { kind: space ? 'space' : 'sign', text: all };
  });
}

export interface Suggestion {
  text: string; // what is written
  shown: string;
  kind: 'event' | 'property' | 'trait' | 'word' | 'context' | 'start';
  from: number; // from where on the text before the caret is replaced
}

function rank<T extends { shown: string }>(all: T[], typed: string): T[] {
  const low = typed.toLowerCase();
  const score = (one: T): number => {
    const name = one.shown.toLowerCase();
    return name === low ? 3 : name.startsWith(low) ? 0 : name.includes(low) ? 1 : 2;
  };
  return all.filter((one) => score(one) < 2).sort((a, b) => score(a) - score(b));
}

function properties(list: Property[], kind: Suggestion['kind'], from: number, prefix = ''): Suggestion[] {
  const names = [...new Set(list.map((property) => property.name))];
  return names.map((name) => ({ text: prefix + named(name), shown: name, kind, from }));
}

/* At most eight of what could be meant at the end of `before`. */
export function suggest(before: string, schema: Schema | undefined): Suggestion[] {
  const events = schema?.events.filter((event) => event.type === 'track') ?? [];
  const open = /(["'])([^"'\n]*)$/.exec(before);
  const quotes = before.split('"').length - 1;
  if (open && quotes % 2 === 1) {
    const from = before.length - open[0].length;
    return rank(events.map((event): Suggestion => ({ text: quoted(event.name), shown: event.name, kind: 'event', from })), open[2] ?? '').slice(0, 8);
  }
  const dotted = /("(?:[^"\\]|\\.)*"|any event|page|screen)\.([\w.]*)$/.exec(before);
  if (dotted) {
    const from = before.length - (dotted[2] ?? '').length;
    const event = events.find((one) => quoted(one.name) === dotted[1]);
    const own = properties(event?.properties ?? [], 'property', from);
    const context = properties(schema?.context ?? [], 'context', from, 'context.');
    return rank([...own, ...context], dotted[2] ?? '').slice(0, 8);
  }
  const word = /[\w.]*$/.exec(before)?.[0] ?? '';
  const from = before.length - word.length;
  const head = before.slice(0, from);
  if (/\btrait\s+$/i.test(head)) return rank(properties(schema?.traits ?? [], 'trait', from), word).slice(0, 8);
  if (head.trim() === '') return rank(FORMS.map((text): Suggestion => ({ text: `${text} `, shown: text, kind: 'start', from })), word).slice(0, 8);
  if (word === '') return [];
  const used = events.filter((event) => before.includes(quoted(event.name)));
  const known = properties([...used.flatMap((event) => event.properties)], 'property', from).concat(properties(schema?.context ?? [], 'context', from));
  const names = events.map((event): Suggestion => ({ text: quoted(event.name), shown: event.name, kind: 'event', from }));
  const words = MORE.filter((text) => text.startsWith(word.toLowerCase())).map((text): Suggestion => ({ text, shown: text, kind: 'word', from }));
  const wantsName = /(?:where|by|and|or|,|\()\s*$/i.test(head);
  return rank(wantsName ? [...known, ...words, ...names] : [...words, ...names, ...known], word).slice(0, 8);
}

/* Questions to begin with, from the events that there are. */
export interface Example {
  key: 'people' | 'funnel' | 'retention' | 'trend' | 'revenue' | 'paths' | 'top' | 'list' | 'events' | 'time';
  text: string;
}

export function examples(schema: Schema): Example[] {
  const names = schema.events.filter((event) => event.type === 'track').map((event) => event.name);
  const has = (name: string, property?: string): boolean => schema.events.some((event) => event.name === name && (!property || event.properties.some((p) => p.name === property)));
  const pick = (wanted: string[], at: number): string | undefined => wanted.find((name) => names.includes(name)) ?? names[at];
  const view = pick(['Product Viewed', 'Product Clicked'], 0);
  const add = pick(['Product Added', 'Checkout Started'], 1);
  const buy = pick(['Order Completed', 'Purchase'], 2);
  const plan = ['plan', 'country', 'age_band'].find((name) => schema.traits.some((trait) => trait.name === name)) ?? schema.traits[0]?.name;
  const channel = schema.context.some((field) => field.name === 'channel') ? 'channel' : undefined;
  const list: Example[] = [];
  if (view && add && buy) list.push({ key: 'funnel', text: `funnel ${[view, add, buy].map(quoted).join(', ')} within 7 days${channel ? ` by ${channel}` : ''}` });
  if (buy) list.push({ key: 'trend', text: `trend of events of ${quoted(buy)}, unique customers of ${quoted(buy)} by day during last 30 days` });
  if (buy && has(buy, 'revenue') && channel) list.push({ key: 'revenue', text: `trend of sum(${quoted(buy)}.revenue) by week during last 60 days split by ${channel}` });
  if (buy) list.push({ key: 'retention', text: `retention from first ${quoted(buy)} to ${quoted(buy)} by week over 8 weeks` });
  list.push({ key: 'paths', text: 'paths of 4 events within 30 minutes limit 40' });
  if (add && buy) list.push({ key: 'list', text: `list customers where did ${quoted(add)} not followed by ${quoted(buy)} within 1 day during last 14 days and identified with last(${quoted(add)}.time) order by last(${quoted(add)}.time) desc limit 50` });
  if (plan) list.push({ key: 'people', text: `count customers where identified by trait ${named(plan)}` });
  if (buy && has(buy, 'products.category')) list.push({ key: 'top', text: `top 10 ${quoted(buy)}.products.category` });
  if (view && buy) list.push({ key: 'time', text: `time from first ${quoted(view)} to ${quoted(buy)} percentiles 50, 75, 90${channel ? ` by ${channel}` : ''}` });
  list.push({ key: 'events', text: 'top 20 events' });
  return list;
}
