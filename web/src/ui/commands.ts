/* What the command palette offers: pages and their parts, acts, saved audiences and KPIs, and what the
 * typed text could be: a customer, or a question. */
import { kpis } from '../api/kpis';
import { questions } from '../api/questions';
import { segments } from '../api/segments';
import { may, signOut } from '../api/session';
import { PAGES } from '../pages';
import { go, href } from '../router';
import { t } from '../texts';
import { copy } from './copy';
import type { IconName } from './icons';
import { chooseTheme, isDark } from './theme';

export interface Command {
  group: string;
  icon: IconName;
  text: string;
  hint?: string;
  run: () => void;
}

/* Names that were saved, for who may see them. */
export interface Saved {
  audiences: { id: number; name: string }[];
  kpis: { id: string; name: string }[];
  questions: { id: number; name: string }[];
}

export async function saved(signal: AbortSignal): Promise<Saved> {
  const none = () => [];
  const [audiences, measures, asked] = await Promise.all([
    may('query') ? segments(signal).catch(none) : [],
    may('kpi.read') ? kpis(signal).catch(none) : [],
    may('query') ? questions(signal).catch(none) : [],
  ]);
  return { audiences, kpis: measures, questions: asked };
}

const words = t.common.palette;
const QUESTION = /^(count|list|funnel|retention|repeat|trend|total|time|paths|attribute|sessions|rfm|top|lifecycle|compare)\s/i;
const MOST_NAMES = 6;

const PARTS: { icon: IconName; text: string; right: string; to: string }[] = [
  { icon: 'sources', text: t.sources.tabs.tail, right: 'event.read', to: '/sources/tail' },
  { icon: 'sources', text: t.sources.tabs.quarantine, right: 'event.read', to: '/sources/quarantine' },
  { icon: 'sources', text: t.sources.tabs.plan, right: 'plan.read', to: '/sources/plan' },
  { icon: 'person', text: t.setup.tabs.accounts, right: 'user.admin', to: '/setup/accounts' },
  { icon: 'setup', text: t.setup.tabs.keys, right: '', to: '/setup/keys' },
  { icon: 'check', text: t.setup.tabs.audit, right: 'audit.read', to: '/setup/audit' },
  { icon: 'person', text: t.setup.tabs.me, right: '', to: '/setup/me' },
];

const NEW: { text: string; right: string; to: string }[] = [
  { text: t.audiences.add, right: 'segment.write', to: '/audiences/new' },
  { text: t.kpis.add, right: 'kpi.write', to: '/kpis?new=kpi' },
  { text: t.kpis.touchpoints.add, right: 'kpi.write', to: '/kpis?new=touchpoint' },
  { text: t.setup.add, right: 'source.admin', to: '/setup?new=source' },
  { text: t.guard.accounts.add, right: 'user.admin', to: '/setup/accounts?new=account' },
  { text: t.guard.keys.add, right: '', to: '/setup/keys?new=key' },
];

const acts = (keys: () => void): Command[] => [
  { group: words.actions, icon: 'moon', text: words.dark, run: () => chooseTheme(isDark() ? 'light' : 'dark') },
  { group: words.actions, icon: 'link', text: words.link, run: () => void copy(location.href) },
  { group: words.actions, icon: 'print', text: t.common.print, run: () => setTimeout(() => print(), 50) },
  { group: words.actions, icon: 'table', text: t.common.shortcuts, hint: '?', run: keys },
  { group: words.actions, icon: 'out', text: t.common.signOut, run: () => void signOut() },
];

/* The best first: what begins with the text, then what holds it. */
export function commands(typed: string, names: Saved | undefined, keys: () => void): Command[] {
  const text = typed.trim();
  const low = text.toLowerCase();
  const fits = (command: { text: string }): boolean => command.text.toLowerCase().includes(low);
  const pages = PAGES.filter((page) => may(page.right)).map((page): Command => ({ group: words.pages, icon: page.name, text: t.common.pages[page.name], hint: `g ${page.key}`, run: () => go(href(page.name)) }));
  const parts = PARTS.filter((part) => may(part.right)).map(({ icon, text, to }): Command => ({ group: words.pages, icon, text, run: () => go(to) }));
  const made = NEW.filter((one) => may(one.right)).map(({ text, to }): Command => ({ group: words.actions, icon: 'plus', text, run: () => go(to) }));
  if (QUESTION.test(text)) return may('query') ? [{ group: words.actions, icon: 'explore', text: words.ask(text), run: () => go(href('explore', [], { q: text })) }] : [];
  const found = [...pages, ...parts, ...made, ...acts(keys)].filter(fits);
  if (!text) return found;
  const audiences = (names?.audiences ?? []).map(({ id, name }): Command => ({ group: t.common.pages.audiences, icon: 'audiences', text: name, run: () => go(href('audiences', [String(id)])) }));
  const measures = (names?.kpis ?? []).map(({ id, name }): Command => ({ group: t.common.pages.kpis, icon: 'kpis', text: name, run: () => go(href('kpis', [id])) }));
  const asked = (names?.questions ?? []).map(({ id, name }): Command => ({ group: words.saved, icon: 'explore', text: name, run: () => go(href('explore', [], { saved: String(id) })) }));
  for (const some of [audiences, measures, asked]) found.push(...some.filter(fits).slice(0, MOST_NAMES));
  found.sort((a, b) => Number(b.text.toLowerCase().startsWith(low)) - Number(a.text.toLowerCase().startsWith(low)));
  if (may('profile.read')) found.push({ group: t.common.pages.customers, icon: 'person', text: words.find(text), run: () => go(href('customers', [], { find: text })) });
  return found;
}
