/* The frame around every page: navigation, search, theme, who is signed in, shortcuts. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { may, signOut, whoIs, type User } from '../api/session';
import { PAGES } from '../pages';
import { go, href } from '../router';
import { t } from '../texts';
import { Dialog } from './dialog';
import { Icon } from './icons';
import { Palette } from './palette';
import { chooseTheme, chosenTheme, type Theme } from './theme';
import { Toasts } from './toast';

type Open = 'palette' | 'keys' | null;

function typing(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return !!element?.closest?.('input,textarea,select,[contenteditable=true]');
}

/* One key, or g and a page's key within a second. */
function useShortcuts(open: Open, show: (what: Open) => void): void {
  const state = useRef({ open, g: 0 });
  state.current.open = open;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        return show(state.current.open === 'palette' ? null : 'palette');
      }
      if (event.metaKey || event.ctrlKey || event.altKey || state.current.open || typing(event.target)) return;
      const page = event.timeStamp - state.current.g < 1000 && PAGES.find((entry) => entry.key === event.key);
      state.current.g = event.key === 'g' ? event.timeStamp : 0;
      if (page) go(href(page.name));
      else if (event.key === '/') show('palette');
      else if (event.key === '?') show('keys');
      else return;
      event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, []);
}

function ThemeButton() {
  const [theme, set] = useState<Theme>(chosenTheme());
  const next: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' };
  const turn = () => {
    chooseTheme(next[theme]);
    set(next[theme]);
  };
  const icon = theme === 'auto' ? 'auto' : theme === 'light' ? 'sun' : 'moon';
  return (
    <button class="button plain icon" type="button" title={t.common.theme[theme]} aria-label={t.common.theme[theme]} onClick={turn}>
      <Icon name={icon} />
    </button>
  );
}

export function Shell({ page, user, children }: { page: string; user: User; children: ComponentChildren }) {
  const [open, show] = useState<Open>(null);
  const main = useRef<HTMLElement>(null);
  useShortcuts(open, show);
  return (
    <div class="shell">
      <a class="skip" href="#main">
        {t.common.skip}
      </a>
      <nav class="side" aria-label={t.common.navigation}>
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" />
          <span>{t.common.product}</span>
        </a>
        <ul>
          {PAGES.filter((entry) => may(entry.right)).map((entry) => (
            <li key={entry.name}>
              <a href={href(entry.name)} aria-current={entry.name === page ? 'page' : undefined} title={t.common.pages[entry.name]}>
                <Icon name={entry.name} />
                <span class="label">{t.common.pages[entry.name]}</span>
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div>
        <header class="topbar">
          <button class="seek" type="button" onClick={() => show('palette')}>
            <Icon name="search" size={16} />
            <span class="clip">{t.common.seek}</span>
            <kbd>/</kbd>
          </button>
          <div class="right">
            <ThemeButton />
            <span class="who muted clip">{whoIs(user)}</span>
            <button class="button plain icon" type="button" title={t.common.signOut} aria-label={t.common.signOut} onClick={() => void signOut()}>
              <Icon name="out" />
            </button>
          </div>
        </header>
        <main class="page" id="main" ref={main} tabIndex={-1}>
          {user.has_password === false && location.pathname !== '/setup/me' && (
            <p class="notice no-print">
              {t.guard.me.firstNote} <a href="/setup/me">{t.guard.me.firstTitle}</a>
            </p>
          )}
          {children}
        </main>
      </div>
      <Toasts />
      {open === 'palette' && <Palette onClose={() => show(null)} onKeys={() => show('keys')} />}
      {open === 'keys' && (
        <Dialog title={t.common.shortcuts} onClose={() => show(null)}>
          <dl class="keys">
            {t.common.keys.map(([keys, what]) => (
              <>
                <dt>
                  <kbd>{keys}</kbd>
                </dt>
                <dd>{what}</dd>
              </>
            ))}
          </dl>
        </Dialog>
      )}
    </div>
  );
}
