/* Customers: finding them by any identifier, and one with all that is known. */
import { get } from './client';
import { loadSchema } from './company';
import { ask, matching, named, type Answer } from './query';

export interface Identifier {
  type: 'user_id' | 'anonymous_id';
  id: string;
  joined_by?: string;
  time?: string;
}

export interface TimelineEvent {
  time: string;
  event: string;
  properties: Record<string, unknown>;
  context: Record<string, unknown>;
}

export interface Total {
  event: string;
  count: number;
  first: string;
  last: string;
}

export interface Profile {
  customer: number;
  identifiers: Identifier[];
  traits: Record<string, unknown>;
  events: number;
  totals: Total[];
  timeline: TimelineEvent[];
}

export interface Membership {
  id: number;
  name: string;
  since: string;
  exact: boolean; // false: at least since then
}

export const FOUND_LIMIT = 50;
const MOST_TRAITS = 12; // that are searched

export const profile = (id: string, events: number, signal?: AbortSignal): Promise<Profile> =>
  get(`/api/v1/profiles/${encodeURIComponent(id)}?limit=${events}`, signal);

export const memberships = (id: string, signal?: AbortSignal): Promise<Membership[]> =>
  get<{ segments: Membership[] }>(`/api/v1/profiles/${encodeURIComponent(id)}/segments`, signal).then((said) => said.segments);

/* Under what the text is known as an identifier, or null. */
export async function identify(text: string, signal: AbortSignal): Promise<string | null> {
  const said = await get<{ profiles: { id: string }[] }>(`/api/v1/profiles?find=${encodeURIComponent(text)}`, signal);
  return said.profiles[0]?.id ?? null;
}

/* Customers with the text in a trait. */
export async function search(text: string, signal: AbortSignal): Promise<Answer> {
  const schema = await loadSchema();
  const traits = [...new Set(schema.traits.filter((trait) => trait.type === 'string').map((trait) => trait.name))].slice(0, MOST_TRAITS);
  if (!traits.length) return { query: '', columns: [], rows: [], cost: { rows: 0, blocks: 0, bytes: 0, ms: 0, cpu_ms: 0 } };
  const where = traits.map((trait) => `trait ${named(trait)} matches ${matching(text)}`).join(' or ');
  const shown = traits.slice(0, 5).map((trait) => `trait ${named(trait)}`);
  return ask(`list customers where ${where} with ${shown.join(', ')} limit ${FOUND_LIMIT}`, signal);
}

/* Who was here lately. */
export async function recent(signal: AbortSignal): Promise<Answer> {
  const schema = await loadSchema();
  const name = ['email', 'name', 'firstName'].find((wanted) => schema.traits.some((trait) => trait.name === wanted));
  const shown = [...(name ? [`trait ${name}`] : []), 'last(any event.time) during last 7 days', 'count(any event) during last 7 days'];
  return ask(`list customers where did any event during last 7 days and identified with ${shown.join(', ')} order by last(any event.time) during last 7 days desc limit 50`, signal);
}
