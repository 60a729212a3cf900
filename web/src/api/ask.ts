/* A request as the state of a component: what came last stays while the next one is under way. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Problem } from './client';

export interface Asked<T> {
  data: T | undefined;
  problem: Problem | undefined;
  busy: boolean;
  again: () => void;
}

/* Asks when `key` changes; not at all while it is null. What is asked under another key is given up.
 * In a layout effect: the request is on its way while the page is painted, not behind that. */
export function useAsk<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Asked<T> {
  const [state, set] = useState<{ key: string | null; data?: T; problem?: Problem; busy: boolean }>({ key, busy: key !== null });
  const [turn, next] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useLayoutEffect(() => {
    if (key === null) return set((was) => (was.key === null ? was : { key, busy: false }));
    const stop = new AbortController();
    set((was) => (was.key === key && was.busy ? was : { ...was, key, busy: true }));
    latest
      .current(stop.signal)
      .then((data) => !stop.signal.aborted && set({ key, data, busy: false }))
      .catch((error: unknown) => {
        if (stop.signal.aborted) return;
        const problem = error instanceof Problem ? error : new Problem(0, 'failed', String(error));
        set({ key, problem, busy: false });
      });
    return () => stop.abort();
  }, [key, turn]);
  const again = useCallback(() => next((n) => n + 1), []);
  return { data: state.data, problem: state.problem, busy: state.busy || state.key !== key, again };
}

/* Calls back every `ms` while the page is visible. */
export function useEvery(ms: number, act: () => void): void {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && latest.current(), ms);
    return () => clearInterval(timer);
  }, [ms]);
}

/* A value that follows another one when it has been still for `ms`. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return settled;
}
