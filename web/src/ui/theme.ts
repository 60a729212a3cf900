/* Light or dark: as the system says, until somebody chooses. Paper is light. */
import { options } from 'preact';
import { useEffect, useState } from 'preact/hooks';

export type Theme = 'auto' | 'light' | 'dark';

const KEY = 'keel.theme';
const system = matchMedia('(prefers-color-scheme: dark)');
const paper = matchMedia('print');
const listeners = new Set<() => void>();

export function chosenTheme(): Theme {
  const said = localStorage.getItem(KEY);
  return said === 'light' || said === 'dark' ? said : 'auto';
}

export function isDark(): boolean {
  if (paper.matches) return false;
  const theme = chosenTheme();
  return theme === 'dark' || (theme === 'auto' && system.matches);
}

function apply(): void {
  document.documentElement.dataset['theme'] = isDark() ? 'dark' : 'light';
  listeners.forEach((tell) => tell());
}

export function chooseTheme(theme: Theme): void {
  if (theme === 'auto') localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, theme);
  apply();
}

/* For what draws by itself; returns how to stop. */
export function onTheme(tell: () => void): () => void {
  listeners.add(tell);
  return () => void listeners.delete(tell);
}

/* Is it being printed? What follows from that is drawn at once: the printer does not wait. */
export function useOnPaper(): boolean {
  const [on, set] = useState(paper.matches);
  useEffect(() => {
    const tell = (): void => {
      const later = options.debounceRendering;
      options.debounceRendering = (draw) => draw();
      set(paper.matches);
      options.debounceRendering = later;
    };
    paper.addEventListener('change', tell);
    return () => paper.removeEventListener('change', tell);
  }, []);
  return on;
}

export function startTheme(): void {
  system.addEventListener('change', apply);
  paper.addEventListener('change', apply);
  apply();
}
