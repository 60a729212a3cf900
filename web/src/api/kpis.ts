/* KPIs, as docs/kpis.md has them. */
import { get } from './client';

export interface KpiPoint {
  period: string;
  value: number | null;
  complete: boolean;
  guardrail: 'unknown' | 'inside' | 'below' | 'above';
  target_met: boolean | null;
}

export interface Kpi {
  id: string;
  name: string;
  unit?: 'count' | 'money' | 'percent' | 'duration';
  direction?: 'up' | 'down';
  grain?: 'day' | 'week' | 'month';
  target?: { value: number; by: string };
  latest: KpiPoint | null;
  running: KpiPoint | null;
}

export const kpis = (signal?: AbortSignal): Promise<Kpi[]> => get<{ kpis: Kpi[] }>('/api/v1/kpis', signal).then((said) => said.kpis);
