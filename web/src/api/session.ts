/* Who is signed in. A session is a cookie that scripts cannot read, and a token against forged
 * requests that goes with everything that changes something. For setting up and for emergencies
 * there is the administrator's token, kept for this tab.
 *
 * Whether there may be a session is remembered, so that nobody is asked who has none. */
import { useEffect, useState } from 'preact/hooks';

export interface User {
  kind: 'session' | 'key' | 'token' | 'owner';
  user: string | null;
  name: string | null;
  side: Side | null;
  role: Role | null;
  rights: string[];
  has_password?: boolean | null; // null: no account
  old_password_needed?: boolean; // false: came by a link that signs in once, and has set none since
}

export const SIDES = ['neither', 'marketing', 'it'] as const;
export const ROLES = ['marketing', 'it', 'executive', 'privacy_officer', 'partner', 'admin'] as const;
export type Side = (typeof SIDES)[number];
export type Role = (typeof ROLES)[number];

export type Session = { state: 'asking' } | { state: 'out'; first: boolean } | { state: 'in'; user: User };

const TOKEN = 'keel.token';
const SIGNED_IN = 'keel.signed-in';
let session: Session = { state: 'asking' };
let csrf = '';
const listeners = new Set<() => void>();

function change(to: Session): void {
  session = to;
  listeners.forEach((tell) => tell());
}

export function credentials(method: string): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  if (token) return { Authorization: `Bearer ${token}` };
  return csrf && method !== 'GET' ? { 'X-CSRF-Token': csrf } : {};
}

function forget(): void {
  sessionStorage.removeItem(TOKEN);
  localStorage.removeItem(SIGNED_IN);
  csrf = '';
}

/* The server refused for want of a session. */
export function signedOut(): void {
  forget();
  if (session.state !== 'out') change({ state: 'out', first: false });
}

function begin(said: User & { csrf: string | null }): void {
  csrf = said.csrf ?? '';
  if (said.kind === 'session') localStorage.setItem(SIGNED_IN, 'yes');
  change({ state: 'in', user: said });
}

async function whoAmI(): Promise<boolean> {
  const response = await fetch('/api/v1/session', { headers: credentials('GET') }).catch(() => null);
  if (!response?.ok) return false;
  begin((await response.json()) as User & { csrf: string | null });
  return true;
}

/* Asked again: what is known of who is signed in has changed. */
export const renewSession = (): Promise<boolean> => whoAmI();

export async function startSession(): Promise<void> {
  const maybe = sessionStorage.getItem(TOKEN) || localStorage.getItem(SIGNED_IN);
  if (maybe && (await whoAmI())) return;
  forget();
  const response = await fetch('/api/v1/setup').catch(() => null);
  const said = response?.ok ? ((await response.json()) as { needed: boolean }) : { needed: false };
  change({ state: 'out', first: said.needed });
}

/* What went wrong, or null. */
export async function signInByToken(token: string): Promise<string | null> {
  if (!/^[\x21-\x7e]+$/.test(token)) return 'The token has characters that no token has.';
  sessionStorage.setItem(TOKEN, token);
  if (await whoAmI()) return null;
  sessionStorage.removeItem(TOKEN);
  return 'This is not the token in admin.token.';
}

/* POST to one of the paths that answer with a session. */
async function enter(path: string, body: Record<string, string>): Promise<string | null> {
  const response = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }).catch(() => null);
  if (!response) return 'The server does not answer.';
  if (!response.ok) {
    const said = (await response.json().catch(() => null)) as { detail?: string } | null;
    return said?.detail ?? `The server answered ${response.status}.`;
  }
  begin((await response.json()) as User & { csrf: string | null });
  return null;
}

export const signIn = (login: string, password: string): Promise<string | null> => enter('/api/v1/session', { login, password });
export const signInByLink = (token: string): Promise<string | null> => enter('/api/v1/session', { token });
export const setUp = (account: { token: string; login: string; name: string; password: string; side: string }): Promise<string | null> =>
  enter('/api/v1/setup', account);

export async function signOut(): Promise<void> {
  if (csrf) await fetch('/api/v1/session', { method: 'DELETE', headers: credentials('DELETE') }).catch(() => null);
  signedOut();
}

/* What the server would refuse need not be offered. */
export const may = (right: string): boolean => session.state === 'in' && (right === '' || session.user.rights.includes(right));
export const user = (): User | null => (session.state === 'in' ? session.user : null);

export const whoIs = (user: User): string => user.name ?? user.user ?? 'administrator';

export function useSession(): Session {
  const [now, set] = useState(session);
  useEffect(() => {
    const tell = () => set(session);
    tell();
    listeners.add(tell);
    return () => void listeners.delete(tell);
  }, []);
  return now;
}
