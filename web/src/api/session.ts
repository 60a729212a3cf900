/* Who is signed in. With accounts: a cookie that scripts cannot read, and a token against forged
 * requests that goes with everything that changes something. Without: the administrator's token,
 * kept for this tab. */
import { useEffect, useState } from 'preact/hooks';

export interface User {
  user: string;
  name?: string;
  side?: string;
  role?: string;
  rights?: string[];
}

export type Session = { state: 'asking' } | { state: 'out'; accounts: boolean } | { state: 'in'; user: User };

const TOKEN = 'keel.token';
let session: Session = { state: 'asking' };
let csrf = '';
let accounts = true;
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

/* The server refused for want of a session. */
export function signedOut(): void {
  sessionStorage.removeItem(TOKEN);
  csrf = '';
  if (session.state !== 'out') change({ state: 'out', accounts });
}

export async function startSession(): Promise<void> {
  if (sessionStorage.getItem(TOKEN) && (await tokenHolds())) return change(administrator());
  const response = await fetch('/api/v1/session').catch(() => null);
  accounts = response?.status !== 404;
  if (!response?.ok) return change({ state: 'out', accounts });
  const said = (await response.json()) as User & { csrf?: string };
  csrf = said.csrf ?? '';
  change({ state: 'in', user: said });
}

function administrator(): Session {
  return { state: 'in', user: { user: 'administrator', role: 'administrator' } };
}

async function tokenHolds(): Promise<boolean> {
  const response = await fetch('/api/v1/sources', { headers: credentials('GET') }).catch(() => null);
  if (!response?.ok) sessionStorage.removeItem(TOKEN);
  return response?.ok ?? false;
}

/* What went wrong, or null. */
export async function signInByToken(token: string): Promise<string | null> {
  if (!/^[\x21-\x7e]+$/.test(token)) return 'The token has characters that no token has.';
  sessionStorage.setItem(TOKEN, token);
  if (!(await tokenHolds())) return 'This is not the token in admin.token.';
  change(administrator());
  return null;
}

export async function signIn(login: string, password: string): Promise<string | null> {
  const response = await fetch('/api/v1/session', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ login, password }),
  }).catch(() => null);
  if (!response) return 'The server does not answer.';
  if (!response.ok) {
    const said = (await response.json().catch(() => null)) as { detail?: string } | null;
    return said?.detail ?? `The server answered ${response.status}.`;
  }
  await startSession();
  return null;
}

export async function signOut(): Promise<void> {
  if (csrf) await fetch('/api/v1/session', { method: 'DELETE', headers: credentials('DELETE') }).catch(() => null);
  signedOut();
}

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
