/* Numbers, money, dates: by the reader's locale; days by the company's time zone. */
const locale = navigator.languages?.[0] ?? 'en';
let zone = 'UTC';
let currency: string | undefined;
let days: Intl.DateTimeFormat | undefined;

export function setCompany(timeZone: string, money: string | undefined): void {
  zone = timeZone;
  currency = money;
  cache.clear();
  days = undefined;
}

export const companyZone = (): string => zone;

const cache = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function numbers(key: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  let format = cache.get(key);
  if (!format) cache.set(key, (format = new Intl.NumberFormat(locale, options)));
  return format as Intl.NumberFormat;
}

function dates(key: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  let format = cache.get(key);
  if (!format) cache.set(key, (format = new Intl.DateTimeFormat(locale, { timeZone: zone, ...options })));
  return format as Intl.DateTimeFormat;
}

export const NONE = '–';

export const count = (n: number): string => numbers('n', { maximumFractionDigits: 2 }).format(n);
/* A number of people; null: too few to be told to this reader. */
export const people = (n: number | null | undefined): string => (n === null || n === undefined ? '‹few›' : count(n));
export const compact = (n: number): string => numbers('c', { notation: 'compact', maximumFractionDigits: 1 }).format(n);
export const percent = (share: number): string =>
  numbers(share < 0.1 ? 'p1' : 'p0', { style: 'percent', maximumFractionDigits: share < 0.1 ? 1 : 0 }).format(share);
export function money(n: number, of: string | undefined = currency): string {
  const small = Math.abs(n) < 1000;
  return of ? numbers(`${small ? 'm' : 'M'}${of}`, { style: 'currency', currency: of, ...(small ? {} : { maximumFractionDigits: 0 }) }).format(n) : count(n);
}

export function duration(seconds: number): string {
  const unit = (n: number, name: string): string =>
    numbers(`u${name}`, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: 1 }).format(n);
  if (seconds < 90) return unit(Math.round(seconds * 10) / 10, 'second');
  if (seconds < 5400) return unit(seconds / 60, 'minute');
  if (seconds < 129600) return unit(seconds / 3600, 'hour');
  return unit(seconds / 86400, 'day');
}

export function bytes(n: number): string {
  const names = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];
  let i = 0;
  while (n >= 1000 && i < names.length - 1) {
    n /= 1000;
    i++;
  }
  const unit = names[i] ?? 'byte';
  return numbers(`b${i}`, { style: 'unit', unit, unitDisplay: i ? 'short' : 'long', maximumFractionDigits: n < 10 && i ? 1 : 0 }).format(n);
}

type When = string | number | Date;
export const day = (at: When): string => dates('day', { dateStyle: 'medium' }).format(new Date(at));
export const longDay = (at: When): string =>
  dates('long', { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }).format(new Date(at));
export const clock = (at: When): string => dates('clock', { timeStyle: 'medium' }).format(new Date(at));
export const moment = (at: When): string => dates('moment', { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(at));
/* A date of an answer (2026-01-31) names a day, wherever one is. */
export const plainDay = (date: string): string => dates('plain', { dateStyle: 'medium', timeZone: 'UTC' }).format(new Date(`${date}T00:00:00Z`));
/* A mark of a time axis whose marks are `step` seconds apart. */
export function tick(seconds: number, step: number, hours: boolean): string {
  const at = new Date(seconds * 1000);
  const timeZone = hours ? zone : 'UTC';
  if (step >= 86400 * 28) return dates('tick-month', { month: 'short', year: '2-digit', timeZone: 'UTC' }).format(at);
  if (step >= 86400 || !hours) return dates(`tick-day-${timeZone}`, { day: 'numeric', month: 'short', timeZone }).format(at);
  if (step < 60) return dates('tick-second', { hour: 'numeric', minute: '2-digit', second: '2-digit' }).format(at);
  return dates('tick-clock', { hour: 'numeric', minute: '2-digit' }).format(at);
}
/* The day of a moment in the company's zone, for grouping. */
export function dayKey(at: When): string {
  days ??= new Intl.DateTimeFormat('en-CA', { timeZone: zone }); // making one costs more than a hundred uses
  return days.format(new Date(at));
}

const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });

export function ago(at: When): string {
  const seconds = (new Date(at).getTime() - Date.now()) / 1000;
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, 'second'],
    [3600, 'minute'],
    [86400, 'hour'],
    [86400 * 45, 'day'],
    [86400 * 545, 'month'],
    [Infinity, 'year'],
  ];
  const sizes: Record<string, number> = { second: 1, minute: 60, hour: 3600, day: 86400, month: 2629800, year: 31557600 };
  for (const [limit, unit] of steps)
    if (Math.abs(seconds) < limit) return relative.format(Math.round(seconds / (sizes[unit] ?? 1)), unit);
  return day(at);
}

const forms = new Intl.PluralRules('en');

/* "customer" or "customers": the form that the number asks for. */
export function plural(n: number, one: string, other: string): string {
  return `${count(n)} ${forms.select(n) === 'one' ? one : other}`;
}
