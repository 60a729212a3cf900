/* Which page is shown, inside the shell; signing in first. */
import { useEffect, useState } from 'preact/hooks';
import { useAsk } from './api/ask';
import { loadCompany } from './api/company';
import { may, useSession } from './api/session';
import { Login } from './pages/login';
import { PAGES, type PageComponent } from './pages';
import { Problem } from './api/client';
import { go, href, usePlace, type Place } from './router';
import { t } from './texts';
import { Empty, Failure, NotYours, PageHead, Waiting } from './ui/parts';
import { Shell } from './ui/shell';

type Loaded = PageComponent | Problem | 'none' | 'not yours';
const loaded = new Map<string, PageComponent>();

async function load(name: string): Promise<Loaded> {
  const entry = PAGES.find((page) => page.name === name);
  if (!entry) return 'none';
  if (!may(entry.right)) return 'not yours';
  try {
    const component = (await entry.load()).default;
    loaded.set(name, component);
    return component;
  } catch {
    return new Problem(0, 'unreachable', 'The page could not be loaded. Load it again; if the server was updated, that helps.');
  }
}

/* The other pages, while there is nothing else to do: going there then waits for nothing. */
function loadOthers(): void {
  const idle = window.requestIdleCallback ?? ((act: () => void) => setTimeout(act, 200));
  const [next] = PAGES.filter((page) => may(page.right) && !loaded.has(page.name));
  if (next) idle(() => void load(next.name).then((is) => typeof is === 'function' && loadOthers()));
}

function Page({ place }: { place: Place }) {
  const company = useAsk('company', loadCompany); // numbers and days are written by it
  const [late, setLate] = useState<{ name: string; is: Loaded } | null>(null);
  const ready = loaded.get(place.page);
  useEffect(() => {
    let current = true;
    if (!ready) void load(place.page).then((is) => current && setLate({ name: place.page, is }));
    return () => void (current = false);
  }, [place.page, ready]);
  useEffect(() => {
    if (ready && company.data) loadOthers();
  }, [!ready, !company.data]);
  const is: Loaded | undefined = ready ?? (late?.name === place.page ? late.is : undefined);
  if (company.problem) return <Failure problem={company.problem} again={company.again} />;
  if (!is || !company.data) return <Waiting />;
  if (is === 'none')
    return (
      <Empty icon="search" title={t.common.notFound}>
        <p>{t.common.notFoundWhy}</p>
      </Empty>
    );
  if (is === 'not yours')
    return (
      <>
        <PageHead title={t.common.pages[place.page as keyof typeof t.common.pages]} />
        <NotYours />
      </>
    );
  if (is instanceof Problem) return <Failure problem={is} again={() => location.reload()} />;
  const Component = is;
  return <Component place={place} />;
}

export function App() {
  const session = useSession();
  const place = usePlace();
  useEffect(() => {
    const first = PAGES.find((page) => may(page.right)); // of those the role has
    if (session.state === 'in' && location.pathname === '/' && first) go(href(first.name), 'replace');
  }, [session.state, place]);
  if (session.state === 'asking') return null;
  if (session.state === 'out') return <Login first={session.first} />;
  return (
    <Shell page={place.page} user={session.user}>
      <Page place={place} />
    </Shell>
  );
}
