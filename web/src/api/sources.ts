/* Sources, what became of their events, the quarantine, the tracking plan. */
import { call, get, post, send } from './client';

export interface Source {
  id: number;
  name: string;
  write_key?: string;
  state: 'on' | 'off';
  rate: number;
  burst: number;
  ip: string;
  strict: boolean;
  archive: boolean;
  old_keys: number;
  origins: string;
}

export type Fate = 'accepted' | 'duplicate' | 'quarantined' | 'refused';
export const FATES: Fate[] = ['accepted', 'duplicate', 'quarantined', 'refused'];

export type Counts = Record<Fate | 'received' | 'repaired' | 'unaccounted' | 'turned_away' | 'replayed', number>;

export interface Fates {
  from: string;
  to: string;
  total: Counts;
  reasons: { fate: string; reason: string; count: number }[];
  points: ({ at: string } & Counts)[];
}

export const sources = (signal?: AbortSignal): Promise<Source[]> => get<{ sources: Source[] }>('/api/v1/sources', signal).then((said) => said.sources);
export const addSource = (name: string, origins: string): Promise<Source> => post('/api/v1/sources', origins ? { name, origins } : { name });
export const switchSource = (name: string, on: boolean): Promise<Source> => post(`/api/v1/sources/${encodeURIComponent(name)}/${on ? 'enable' : 'disable'}`);
export const rotateKey = (name: string): Promise<Source> => post(`/api/v1/sources/${encodeURIComponent(name)}/rotate`, {});

export const fates = (source: number | null, query: string, signal?: AbortSignal): Promise<Fates> =>
  get(`${source === null ? '/api/v1/fate' : `/api/v1/sources/${source}/fate`}?${query}`, signal);

export interface TailEvent {
  at: string;
  source: string;
  fate: Fate;
  repaired?: boolean;
  replayed?: boolean;
  type?: string;
  name?: string;
  user?: string;
  anonymous?: string;
  reason?: string;
  details?: Reason[];
  cut?: boolean;
  json?: unknown;
}

export interface Reason {
  code: string;
  property?: string;
  message: string;
}

export interface Held {
  id: number;
  source: string;
  state: 'open' | 'replayed' | 'discarded';
  received_at: string;
  changed_at: string;
  event: string;
  user?: string;
  reasons: Reason[];
  json?: unknown;
}

export interface HeldPage {
  open: number;
  limit: number;
  events: Held[];
  next_cursor?: string;
}

export const held = (query: string, signal?: AbortSignal): Promise<HeldPage> => get(`/api/v1/quarantine?${query}`, signal);
export const heldOne = (id: number, signal?: AbortSignal): Promise<Held> => get(`/api/v1/quarantine/${id}`, signal);
export const replay = (query: string): Promise<{ accepted: number; duplicate: number; quarantined: number; next_cursor?: string }> => post(`/api/v1/quarantine/replay?${query}`);
export const discard = (query: string): Promise<{ discarded: number }> => post(`/api/v1/quarantine/discard?${query}`);

export interface PlanProperty {
  type?: string;
  class?: string;
  required?: boolean;
  allowed?: (string | number)[];
  pattern?: string;
  min?: number;
  max?: number;
  description?: string;
}

export interface PlanEvent {
  description?: string;
  owner_business?: string;
  owner_technical?: string;
  status?: string;
  property?: Record<string, PlanProperty>;
}

export interface Plan {
  unplanned_events: string;
  unplanned_properties: string;
  event: Record<string, PlanEvent>;
}

export interface PlanVersion {
  version: number;
  at: string;
  events: number;
  who: string;
}

export const plan = (signal?: AbortSignal): Promise<{ version: number; plan: Plan }> => get('/api/v1/plan', signal);
export const planVersions = (signal?: AbortSignal): Promise<PlanVersion[]> => get<{ versions: PlanVersion[] }>('/api/v1/plan/versions', signal).then((said) => said.versions);
export const planText = (version?: number): Promise<string> => send('GET', `/api/v1/plan?format=toml${version ? `&version=${version}` : ''}`).then((said) => said.text());
export const proposedPlan = (): Promise<string> => send('GET', '/api/v1/plan/infer?format=toml').then((said) => said.text());
export const savePlan = (toml: string, who: string): Promise<{ version: number }> => call('PUT', `/api/v1/plan?who=${encodeURIComponent(who)}`, toml);
