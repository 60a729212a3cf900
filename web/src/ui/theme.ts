/* Light or dark: as the system says, until somebody chooses. Paper is light. */
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

export function startTheme(): void {
  system.addEventListener('change', apply);
  paper.addEventListener('change', apply);
  apply();
}
