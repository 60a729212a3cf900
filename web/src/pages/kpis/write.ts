/* How a KPI's numbers and days are written, and whether a change is good. */
import type { Grain, SeriesPoint, Unit } from '../../api/kpis';
import { count, duration, money, percent } from '../../format';
import { t } from '../../texts';

const DAY_MS = 86400_000;

export interface Measured {
  unit?: Unit;
  currency?: string;
}

export function writer(kpi: Measured): (n: number) => string {
  if (kpi.unit === 'money') return (n) => money(n, kpi.currency);
  if (kpi.unit === 'duration') return (n) => (n < 0 ? `−${duration(-n)}` : duration(n));
  return kpi.unit === 'percent' ? percent : count;
}

export const known = (n: number | null | undefined): n is number => n !== null && n !== undefined;

/* What is unknown is said to be. */
export const told = (n: number | null | undefined, write: (n: number) => string): string => (known(n) ? write(n) : t.kpis.unknown);

export const signed = (n: number, write: (n: number) => string): string => `${n > 0 ? '+' : n < 0 ? '−' : ''}${write(Math.abs(n))}`;

export const addDays = (day: string, n: number): string => new Date(Date.parse(`${day}T00:00:00Z`) + n * DAY_MS).toISOString().slice(0, 10);

const MONTHS = { year: 'numeric', month: 'long', timeZone: 'UTC' } as const;
const LANGUAGE = navigator.languages?.[0] ?? 'en';

export function periodName(grain: Grain | undefined, period: string, day: (date: string) => string): string {
  if (grain === 'month') return new Intl.DateTimeFormat(LANGUAGE, MONTHS).format(new Date(`${period}T00:00:00Z`));
  return t.kpis.period(grain ?? 'day', day(period));
}

/* A count of customers is that of a moment; other questions say their range. */
export const asOf = (question: string, point: { asked_at?: string }): string | undefined => (question.startsWith('count ') ? point.asked_at : undefined);

/* The value of the period before that one, if it is known. */
export function before(points: SeriesPoint[] | undefined, period: string | undefined): number | null {
  const at = points?.findIndex((point) => point.period === period) ?? -1;
  return points?.[at - 1]?.value ?? null;
}
