/* A dialog over the page: keeps the focus inside, Escape closes, the focus returns where it was. */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { t } from '../texts';
import { Icon } from './icons';

const FOCUSABLE = 'a[href],button:not(:disabled),input:not(:disabled),select,textarea,[tabindex="0"]';

interface LayerProps {
  label: string;
  class?: string;
  onClose: () => void;
  children: ComponentChildren;
}

export function Layer({ label, onClose, children, ...more }: LayerProps) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const inside = box.current;
    (inside?.querySelector<HTMLElement>('[autofocus]') ?? inside?.querySelector<HTMLElement>(FOCUSABLE))?.focus();
    return () => before?.focus?.();
  }, []);
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      onClose();
    }
    if (event.key !== 'Tab') return;
    const all = [...(box.current?.querySelectorAll<HTMLElement>(FOCUSABLE) ?? [])];
    const edge = event.shiftKey ? all[0] : all[all.length - 1];
    if (document.activeElement !== edge) return;
    event.preventDefault();
    (event.shiftKey ? all[all.length - 1] : all[0])?.focus();
  };
  return (
    <div class="scrim" onMouseDown={(event) => event.target === event.currentTarget && onClose()} onKeyDown={onKey}>
      <div ref={box} class={`dialog ${more.class ?? ''}`} role="dialog" aria-modal="true" aria-label={label}>
        {children}
      </div>
    </div>
  );
}

interface DialogProps {
  title: string;
  onClose: () => void;
  footer?: ComponentChildren;
  children: ComponentChildren;
}

export function Dialog({ title, onClose, footer, children }: DialogProps) {
  return (
    <Layer label={title} onClose={onClose}>
      <header>
        <h2>{title}</h2>
        <button class="button plain icon" type="button" aria-label={t.common.close} onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <div class="body stack">{children}</div>
      {footer && <footer>{footer}</footer>}
    </Layer>
  );
}
