/* Small parts: card, badge, statistic, what stands where there is nothing, not yet, or an error. */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { Problem } from '../api/client';
import { user } from '../api/session';
import { moment, plainDay } from '../format';
import { t } from '../texts';
import { Icon, type IconName } from './icons';

const DATE = /\b\d{4}-\d\d-\d\d\b/g;
const INSTANT = /\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?Z/g;

interface CardProps {
  title?: ComponentChildren;
  note?: ComponentChildren;
  actions?: ComponentChildren;
  flush?: boolean;
  class?: string;
  children: ComponentChildren;
}

export function Card({ title, note, actions, flush, children, ...more }: CardProps) {
  return (
    <section class={`card ${more.class ?? ''}`}>
      {(title || actions) && (
        <header>
          <div>
            {title && <h2>{title}</h2>}
            {note && <p>{note}</p>}
          </div>
          {actions && <div class="row no-print">{actions}</div>}
        </header>
      )}
      <div class={flush ? 'body flush' : 'body'}>{children}</div>
    </section>
  );
}

interface PageHeadProps {
  title: string;
  lead?: ComponentChildren;
  back?: { href: string; text: string }; // what this page is a part of
  children?: ComponentChildren;
}

export function PageHead({ title, lead, back, children }: PageHeadProps) {
  useEffect(() => {
    document.title = `${title} · Keel`;
  }, [title]);
  return (
    <div class="page-head">
      <div>
        {back && (
          <a class="back no-print" href={back.href}>
            <Icon name="back" size={14} />
            {back.text}
          </a>
        )}
        <h1>{title}</h1>
        {lead && <p>{lead}</p>}
      </div>
      {children && <div class="row no-print">{children}</div>}
    </div>
  );
}

export function Stat({ what, value, note, words }: { what: string; value: ComponentChildren; note?: ComponentChildren; words?: boolean }) {
  return (
    <div class="card stat">
      <span class="what">{what}</span>
      <span class={words ? 'value words' : 'value'}>{value}</span>
      {note && <span class="note">{note}</span>}
    </div>
  );
}

export type Tone = 'good' | 'warn' | 'bad' | 'accent' | '';

export function Badge({ tone = '', children }: { tone?: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={icon} size={36} />
      <h2>{title}</h2>
      {children}
    </div>
  );
}

/* Where somebody came by a link to what his role does not include. */
export function NotYours() {
  const role = user()?.role;
  return (
    <section class="card">
      <Empty icon="person" title={t.common.notYours}>
        <p>{t.common.notYoursWhy(role ? t.guard.roles[role] : '–')}</p>
        <a class="button" href="/setup/me">
          {t.guard.me.title}
        </a>
      </Empty>
    </section>
  );
}

/* In place of a page about one thing that is not there: said, with the way to all of them. */
export function Missing({ icon, page, what, all, href }: { icon: IconName; page: string; what: string; all: string; href: string }) {
  return (
    <>
      <PageHead title={page} />
      <Card>
        <Empty icon={icon} title={what}>
          <a class="button" href={href}>
            {all}
          </a>
        </Empty>
      </Card>
    </>
  );
}

export function Failure({ problem, again }: { problem: Problem; again?: () => void }) {
  return (
    <div class="failure" role="alert">
      <Icon name="alert" />
      <div>
        <strong>{t.common.failed}</strong>
        {problem.message.includes('\n') ? <pre>{problem.message}</pre> : <p>{problem.message}</p>}
        {again && (
          <button class="button small" type="button" onClick={again}>
            {t.common.again}
          </button>
        )}
      </div>
    </div>
  );
}

export function Waiting({ lines = 4 }: { lines?: number }) {
  return (
    <div class="stack" role="status">
      <span class="hidden-text">{t.common.loading}</span>
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} class="skeleton" style={{ width: `${92 - ((i * 23) % 40)}%` }} />
      ))}
    </div>
  );
}

/* The same where whole cards will stand. */
export function WaitingCard({ lines }: { lines?: number }) {
  return (
    <Card>
      <Waiting {...(lines ? { lines } : {})} />
    </Card>
  );
}

/* What an answer adds to its numbers; moments in it are written as everywhere. */
export function Notes({ of }: { of: readonly string[] | undefined }) {
  return (
    <>
      {of?.map((note) => (
        <p key={note} class="note-line">
          {note.replace(INSTANT, (at) => moment(at)).replace(DATE, (date) => plainDay(date))}
        </p>
      ))}
    </>
  );
}

export interface Tab {
  href: string;
  text: string;
  current: boolean;
}

export function Tabs({ label, tabs }: { label: string; tabs: Tab[] }) {
  const nav = useRef<HTMLElement>(null);
  const current = tabs.findIndex((tab) => tab.current);
  useLayoutEffect(() => {
    const tab = nav.current?.children[current] as HTMLElement | undefined;
    if (nav.current && tab) nav.current.scrollLeft = tab.offsetLeft + tab.offsetWidth / 2 - nav.current.clientWidth / 2;
  }, [current]);
  return (
    <nav ref={nav} class="tabs no-print" aria-label={label}>
      {tabs.map((tab) => (
        <a key={tab.href} href={tab.href} aria-current={tab.current ? 'page' : undefined}>
          {tab.text}
        </a>
      ))}
    </nav>
  );
}

/* A share of 1, with its number beside it for those who do not see the bar. */
export function Bar({ share }: { share: number }) {
  return (
    <span class="bar" aria-hidden="true">
      <i style={{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }} />
    </span>
  );
}
