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

export function forgetPast(): void {
  localStorage.removeItem(KEY);
}
