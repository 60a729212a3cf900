/* The questions asked in this browser, the newest first. */
const KEY = 'keel.questions';
const MOST = 30;

export function past(): string[] {
  try {
    const said: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(said) ? said.filter((one): one is string => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

export function remember(question: string): void {
  const all = [question, ...past().filter((one) => one !== question)].slice(0, MOST);
  localStorage.setItem(KEY, JSON.stringify(all));
}

/* Returns what it forgets. */
export function forgetPast(): string[] {
  const all = past();
  localStorage.removeItem(KEY);
  return all;
}

export const recall = (all: string[]): void => localStorage.setItem(KEY, JSON.stringify(all));
