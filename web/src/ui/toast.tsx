/* Short messages at the edge; one that says what was done can carry how to undo it. */
import { useEffect, useState } from 'preact/hooks';
import { t } from '../texts';
import { Icon } from './icons';

const SECOND_THOUGHTS_MS = 8_000;

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  undo?: (() => void) | undefined;
}

let toasts: Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function change(to: Toast[]): void {
  toasts = to;
  listeners.forEach((tell) => tell());
}

const drop = (id: number): void => change(toasts.filter((toast) => toast.id !== id));

export function say(text: string, more: { bad?: boolean; undo?: () => void } = {}): void {
  const id = ++last;
  change([...toasts.slice(-3), { id, text, bad: !!more.bad, undo: more.undo }]);
  setTimeout(() => drop(id), more.undo ? 10_000 : more.bad ? 8_000 : 4_000);
}

/* What an act failed of. */
export const failed = (error: unknown): void => say((error as Error).message, { bad: true });

const leaving = new Set<string>();

/* Does it after a while, in which it can be taken back. `what` is gone for who asks useLeaving. */
export function soon(what: string, text: string, act: () => Promise<unknown>): void {
  const back = () => void leaving.delete(what);
  leaving.add(what);
  const timer = setTimeout(() => {
    void act()
      .catch(failed)
      .finally(() => (back(), change(toasts)));
  }, SECOND_THOUGHTS_MS);
  say(text, { undo: () => (clearTimeout(timer), back()) });
}

function useToasts(): Toast[] {
  const [shown, set] = useState({ toasts });
  useEffect(() => {
    const tell = () => set({ toasts });
    listeners.add(tell);
    return () => void listeners.delete(tell);
  }, []);
  return shown.toasts;
}

/* Names of what is about to be removed. */
export function useLeaving(): ReadonlySet<string> {
  useToasts();
  return leaving;
}

export function Toasts() {
  const shown = useToasts();
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} class={toast.bad ? 'toast bad' : 'toast'}>
          <span>{toast.text}</span>
          {toast.undo && (
            <button
              class="button small"
              type="button"
              onClick={() => {
                toast.undo?.();
                drop(toast.id);
              }}
            >
              {t.common.undo}
            </button>
          )}
          <button class="button plain icon small" type="button" aria-label={t.common.close} onClick={() => drop(toast.id)}>
            <Icon name="close" size={16} />
          </button>
        </div>
      ))}
    </div>
  );
}
