/* Small parts: card, badge, statistic, what stands where there is nothing, not yet, or an error. */
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import type { Problem } from '../api/client';
import { t } from '../texts';
import { Icon, type IconName } from './icons';

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

export function PageHead({ title, lead, children }: { title: string; lead?: ComponentChildren; children?: ComponentChildren }) {
  useEffect(() => {
    document.title = `${title} · Keel`;
  }, [title]);
  return (
    <div class="page-head">
      <div>
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

export interface Tab {
  href: string;
  text: string;
  current: boolean;
}

export function Tabs({ label, tabs }: { label: string; tabs: Tab[] }) {
  return (
    <nav class="tabs no-print" aria-label={label}>
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
