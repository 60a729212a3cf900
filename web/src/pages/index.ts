/* The pages, in the order of the navigation. A page is a folder with an index.tsx that exports a
 * component of Place by default; it is loaded when it is first opened. src/api/static.c has the
 * same names. */
import type { ComponentType } from 'preact';
import type { Place } from '../router';
import { t } from '../texts';
import type { IconName } from '../ui/icons';

export type PageComponent = ComponentType<{ place: Place }>;

export interface PageEntry {
  name: IconName & keyof typeof t.common.pages;
  key: string; // behind g
  right: string; // without it the page has nothing to show
  load: () => Promise<{ default: PageComponent }>;
}

export const PAGES: PageEntry[] = [
  { name: 'today', key: 't', right: 'query', load: () => import('./today') },
  { name: 'customers', key: 'c', right: 'profile.read', load: () => import('./customers') },
  { name: 'audiences', key: 'a', right: 'query', load: () => import('./audiences') },
  { name: 'explore', key: 'e', right: 'query', load: () => import('./explore') },
  { name: 'kpis', key: 'k', right: 'kpi.read', load: () => import('./kpis') },
  { name: 'sources', key: 's', right: 'event.read', load: () => import('./sources') },
  { name: 'setup', key: 'u', right: '', load: () => import('./setup') },
];
