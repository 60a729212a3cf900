/* Saved segments: audiences that keep themselves right; docs/segments.md. */
import { call, get, post } from './client';
import type { QueryJson } from './query';

export interface Segment {
  id: number;
  name: string;
  description: string;
  purpose: string;
  owners: { marketing: string; it: string };
  version: number;
  query: string;
  hash: string;
  json: QueryJson;
  changed_at: string;
  changed_by: string;
  state: 'filling' | 'live' | 'failed';
  filled?: number;
  size: number | null;
  error?: string;
  names: unknown[];
  named_by: unknown[];
}

export interface Member {
  customer: number;
  user_id?: string;
  anonymous_id?: string;
}

export interface Preview {
  query: string; // canonical
  json: QueryJson;
  size: number | null; // null, here and below: too few to be told to this reader
  customers: number; // of all
  sample?: Member[];
  notes: string[];
  cost: { rows: number; bytes: number; ms: number; cpu_ms: number };
  against?: { stay: number | null; enter: number | null; leave: number | null };
}

export interface Spec {
  name?: string;
  query?: string | QueryJson;
  purpose?: string;
  description?: string;
  owners?: { marketing: string; it: string };
}

export interface Overlap {
  segments: { id: number; name: string; size: number | null }[];
  overlap: (number | null)[][];
}

const one = (id: number): string => `/api/v1/segments/${id}`;

export const segments = (signal?: AbortSignal): Promise<Segment[]> => get<{ segments: Segment[] }>('/api/v1/segments', signal).then((said) => said.segments);
export const segment = (id: number, signal?: AbortSignal): Promise<Segment> => get(one(id), signal);
export const saveSegment = (id: number | null, spec: Spec): Promise<Segment> => (id === null ? post('/api/v1/segments?wait=5', spec) : call('PUT', `${one(id)}?wait=5`, spec));
export const removeSegment = (id: number): Promise<void> => call('DELETE', one(id));
export const overlap = (signal?: AbortSignal): Promise<Overlap> => get('/api/v1/segments/overlap', signal);
export const sizes = (id: number, signal?: AbortSignal): Promise<{ at: string; size: number | null }[]> =>
  get<{ sizes: { at: string; size: number | null }[] }>(`${one(id)}/history`, signal).then((said) => said.sizes);
export const preview = (query: string | QueryJson, id: number | null, signal?: AbortSignal): Promise<Preview> =>
  post('/api/v1/segments/preview', id === null ? { query, sample: 8 } : { query, id, sample: 8 }, signal);
