/* Accounts, API keys, sessions, the audit log; docs/security.md. */
import { call, get, post } from './client';
import type { Role, Side } from './session';

export interface Account {
  login: string;
  name: string;
  side: Side;
  role: Role;
  disabled: boolean;
  password: boolean; // has one
  created_at: string;
  signed_in_at: string | null;
}

export interface Key {
  id: number;
  name: string;
  user: string | null; // null: of the installation
  prefix: string;
  scopes: string[];
  created_at: string;
  used_at: string | null;
  expires_at: string | null;
}

export interface SignedIn {
  id: number;
  created_at: string;
  seen_at: string;
  ends_at: string;
  current: boolean;
}

export interface AuditRecord {
  n: number;
  at: string;
  who: string;
  from: string;
  act: string;
  object: string;
  outcome: number;
}

export interface Verdict {
  intact: boolean;
  records: number;
  head: string;
  why?: string;
}

export interface Right {
  right: string;
  allows: string;
}

const account = (login: string): string => `/api/v1/users/${encodeURIComponent(login)}`;

export const accounts = (signal?: AbortSignal): Promise<Account[]> => get<{ users: Account[] }>('/api/v1/users', signal).then((said) => said.users);
export const addAccount = (made: { login: string; name: string; role: Role; side: Side; password?: string }): Promise<Account> => post('/api/v1/users', made);
export const changeAccount = (login: string, to: Partial<Pick<Account, 'name' | 'side' | 'role' | 'disabled'>> & { password?: string }): Promise<Account> => call('PATCH', account(login), to);
/* A link that signs in once. */
export const loginLink = (login: string): Promise<{ url: string; seconds: number }> =>
  post<{ token: string; seconds: number }>(`${account(login)}/login-link`).then((said) => ({ url: `${location.origin}/login#${said.token}`, seconds: said.seconds }));

export const keys = (signal?: AbortSignal): Promise<Key[]> => get<{ keys: Key[] }>('/api/v1/keys', signal).then((said) => said.keys);
export const addKey = (made: { name: string; scopes: string[]; expires_at?: string }): Promise<{ secret: string; key: Key }> => post('/api/v1/keys', made);
export const revokeKey = (id: number): Promise<void> => call('DELETE', `/api/v1/keys/${id}`);

export const rights = (signal?: AbortSignal): Promise<{ rights: Right[]; roles: { role: Role; rights: string[] }[] }> => get('/api/v1/rights', signal);

export const sessions = (signal?: AbortSignal): Promise<SignedIn[]> => get<{ sessions: SignedIn[] }>('/api/v1/sessions', signal).then((said) => said.sessions);
export const endSession = (id: number): Promise<void> => call('DELETE', `/api/v1/sessions/${id}`);
/* old null: of who came by a link and need not know it. */
export const changePassword = (old: string | null, wanted: string): Promise<void> => call('PUT', '/api/v1/session/password', old === null ? { new: wanted } : { old, new: wanted });

export function audit(limit: number, customer: string, cursor: string | undefined, signal?: AbortSignal): Promise<{ records: AuditRecord[]; next_cursor?: string }> {
  const params = new URLSearchParams({ limit: String(limit), ...(customer ? { customer } : {}), ...(cursor ? { cursor } : {}) });
  return get(`/api/v1/audit?${params}`, signal);
}
export const verifyAudit = (): Promise<Verdict> => get('/api/v1/audit/verify');
