/* KPIs and touchpoints, as docs/kpis.md has them. */
import { call, get, post } from './client';

export const UNITS = ['count', 'money', 'percent', 'duration'] as const;
export const GRAINS = ['day', 'week', 'month'] as const;
export const FORMS = ['query', 'sum', 'product', 'ratio'] as const;
export type Unit = (typeof UNITS)[number];
export type Grain = (typeof GRAINS)[number];
export type Form = (typeof FORMS)[number];
export type Verdict = 'unknown' | 'inside' | 'below' | 'above';

export interface KpiPoint {
  period: string;
  value: number | null;
  hidden?: boolean; // of fewer customers than may be shown
  complete: boolean;
  asked_at?: string; // when a count of customers is as of
  guardrail: Verdict;
  target_met: boolean | null;
  question?: string; // of a leaf: what the value answers
}

export interface Definition {
  name?: string;
  description?: string;
  query?: string;
  sum?: string[];
  product?: string[];
  ratio?: string[];
  unit?: Unit;
  currency?: string;
  digits?: number;
  direction?: 'up' | 'down';
  grain?: Grain;
  target?: { value: number; by: string };
  guardrail?: { low?: number; high?: number };
  owner_marketing?: string;
  owner_it?: string;
}

export interface Kpi extends Definition {
  id: string;
  name: string;
  version: number;
  form: Form;
  latest: KpiPoint | null;
  running: KpiPoint | null;
}

export interface Edit {
  version: number;
  at: string;
  who: string;
  definition: Definition | null; // null: removed
}

export interface Node {
  id: string;
  name: string;
  form: Form;
  minus: boolean;
  parts: Node[];
}

export type Because = 'definition' | 'unfinished' | 'late_events' | 'merges' | 'other';

export interface SeriesPoint extends Omit<KpiPoint, 'complete' | 'guardrail' | 'target_met' | 'question'> {
  complete?: boolean; // these are there where something is kept
  computed_at?: string;
  band: { low: number; middle: number; high: number } | null;
  verdict: Verdict;
  now?: {
    value: number | null;
    difference: number | null;
    from_definition: number | null;
    from_data: number | null;
    late_events: number;
    merged: number;
    because: Because[];
  };
}

export interface KpiSeries {
  grain: Grain;
  from: string;
  to: string;
  as_of?: string;
  question?: string; // of a leaf: what the points answer, or each of them
  points: SeriesPoint[];
  notes: string[];
}

export interface Contribution {
  id: string;
  name: string;
  unit: Unit;
  value: number | null;
  against: number | null;
  contribution: number | null;
  share: number | null;
}

export interface Attribution {
  value: number | null;
  against: number | null;
  change: number | null;
  method: 'additive' | 'log-share' | 'shapley' | 'none';
  digits: number;
  unknown?: string;
  contributions: Contribution[];
  notes: string[];
}

export interface Channel {
  channel: string | null;
  staff: boolean;
  started: number | null;
  completed: number | null;
  completion_rate: number | null;
  median_seconds: number | null;
  fell_back: number | null;
  fallback_rate: number | null;
  hidden?: boolean;
  questions: { completion: string; fallback?: string }; // two steps each; of staff there is no fall-back
}

export interface TouchpointDefinition {
  name: string;
  property: string; // says where an event happened
  start: string;
  end: string;
  within: string;
  fallback_within: string;
  staff: string[];
}

export interface Touchpoint extends TouchpointDefinition {
  id: string;
  channels: Channel[];
  notes: string[];
}

const BASE = '/api/v1/kpis';
const path = (id: string): string => `${BASE}/${encodeURIComponent(id)}`;

function asked(words: Record<string, string>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(words)) if (value) params.set(name, value);
  const text = params.toString();
  return text ? `?${text}` : '';
}

export const kpis = (signal?: AbortSignal): Promise<Kpi[]> => get<{ kpis: Kpi[] }>(BASE, signal).then((said) => said.kpis);
export const kpiTree = (signal?: AbortSignal): Promise<Node[]> => get<{ roots: Node[] }>(`${BASE}/tree`, signal).then((said) => said.roots);
export const kpi = (id: string, signal?: AbortSignal): Promise<Kpi & { edits: Edit[] }> => get(path(id), signal);
export const kpiSeries = (id: string, words: Record<string, string>, signal?: AbortSignal): Promise<KpiSeries> => get(`${path(id)}/series${asked(words)}`, signal);
export const attribution = (id: string, words: Record<string, string>, signal?: AbortSignal): Promise<Attribution> => get(`${path(id)}/attribution${asked(words)}`, signal);
export const touchpoints = (signal?: AbortSignal): Promise<{ from: string; to: string; touchpoints: Touchpoint[] }> => get('/api/v1/touchpoints', signal);

/* Adds or changes it. */
export const putTouchpoint = (id: string, definition: TouchpointDefinition): Promise<void> => call('PUT', BASE, { touchpoint: { [id]: definition } });
export const removeTouchpoint = (id: string): Promise<void> => call('DELETE', `/api/v1/touchpoints/${encodeURIComponent(id)}`);

export const addKpi = (id: string, definition: Definition): Promise<Kpi> => post(BASE, { id, ...definition });
/* `version`: only if it is still the newest. */
export const putKpi = (id: string, definition: Definition, version?: number): Promise<Kpi> => call('PUT', `${path(id)}${version ? `?version=${version}` : ''}`, definition);
export const removeKpi = (id: string): Promise<void> => call('DELETE', path(id));
