/* Addresses: /PAGE/REST?QUERY. The address is the state that can be shared: what a page shows is a
 * function of it, and going back is undo.
 *
 * Plain links work: a click on <a href="/…"> is taken over unless it opens a new tab. */
import { useEffect, useState } from 'preact/hooks';

export interface Place {
  page: string;
  rest: string[];
  query: URLSearchParams;
}

const listeners = new Set<() => void>();

export function here(): Place {
  const [page = '', ...rest] = location.pathname.split('/').filter(Boolean).map(decode);
  return { page: page || 'today', rest, query: new URLSearchParams(location.search) };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export function href(page: string, rest: string[] = [], query: Record<string, string | undefined> = {}): string {
  const path = [page, ...rest].map(encodeURIComponent).join('/');
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) params.set(name, value);
  const text = params.toString();
  return `/${path}${text ? `?${text}` : ''}`;
}

export function go(to: string, how: 'push' | 'replace' = 'push'): void {
  if (how === 'replace' || to === location.pathname + location.search) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  listeners.forEach((tell) => tell());
}

export function usePlace(): Place {
  const [place, set] = useState(here);
  useEffect(() => {
    const tell = () => set(here());
    listeners.add(tell);
    return () => void listeners.delete(tell);
  }, []);
  return place;
}

export function startRouter(): void {
  addEventListener('popstate', () => listeners.forEach((tell) => tell()));
  addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    const to = link?.getAttribute('href');
    if (!link || !to?.startsWith('/') || to.startsWith('//') || link.target || link.hasAttribute('download')) return;
    if (link.hasAttribute('data-outside')) return;
    event.preventDefault();
    const moved = to.split('?')[0] !== location.pathname;
    go(to);
    if (moved) scrollTo(0, 0);
  });
}
