/* Conditions as the JSON form has them, and what the builder can show of them. */
export interface EventPart {
  type: string;
  name?: string;
  where?: Filter;
}

export type Value = string | number | boolean;

export interface Test {
  property?: string;
  trait?: string;
  op: string;
  value?: Value;
}

export type Filter = Test | { and: Filter[] } | Record<string, unknown>;

export type Cond = Record<string, unknown>;

export interface Did extends Cond {
  did: EventPart;
  min?: number;
  range?: { last: number; unit: string };
}

const only = (object: Record<string, unknown>, names: string[]): boolean => Object.keys(object).every((name) => names.includes(name));
const isTest = (filter: Filter): filter is Test => only(filter as Cond, ['property', 'trait', 'op', 'value']) && 'op' in filter && typeof (filter as Test).value !== 'object';

export const filtersOf = (event: EventPart): Test[] | null => {
  if (!event.where) return [];
  const all = 'and' in event.where ? (event.where as { and: Filter[] }).and : [event.where];
  return all.every(isTest) ? (all as Test[]) : null;
};

export const withFilters = (event: EventPart, filters: Test[]): EventPart => {
  const { where: _, ...rest } = event;
  if (!filters.length) return rest;
  return { ...rest, where: filters.length === 1 ? (filters[0] as Test) : { and: filters } };
};

export interface Measured extends Cond {
  measure: { aggregate: string; event: EventPart; property?: string; range?: { last: number; unit: string } };
  op: string;
  value: number;
}

/* One event, then another one, or not, within days. */
export interface Sequence extends Cond {
  did: EventPart;
  followed_by?: EventPart;
  not_followed_by?: EventPart;
  within?: { n: number; unit: string };
  range?: { last: number; unit: string };
}

export type Kind = 'did' | 'didNot' | 'then' | 'notThen' | 'measure' | 'trait' | 'identified' | 'anonymous' | 'segment' | 'group' | 'written';

const inDays = (range: unknown): boolean => range === undefined || (only(range as Cond, ['last', 'unit']) && (range as Cond)['unit'] === 'day');

export const isDid = (cond: Cond): cond is Did =>
  'did' in cond && only(cond, ['did', 'min', 'range']) && inDays(cond['range']) && filtersOf(cond['did'] as EventPart) !== null;

const isPlain = (event: unknown): boolean => !!event && !(event as EventPart).where;

function isSequence(cond: Cond): cond is Sequence {
  if (!('did' in cond) || 'followed_by' in cond === 'not_followed_by' in cond || !only(cond, ['did', 'followed_by', 'not_followed_by', 'within', 'range'])) return false;
  const within = cond['within'] as Sequence['within'];
  return isPlain(cond['did']) && isPlain(cond['followed_by'] ?? cond['not_followed_by']) && (!within || within.unit === 'day') && inDays(cond['range']);
}

export const AGGREGATES = ['count', 'sum', 'avg', 'min', 'max', 'unique'];

function isMeasured(cond: Cond): cond is Measured {
  if (!('measure' in cond) || !only(cond, ['measure', 'op', 'value']) || typeof cond['value'] !== 'number') return false;
  const measure = cond['measure'] as Measured['measure'];
  return only(measure, ['aggregate', 'event', 'property', 'range']) && AGGREGATES.includes(measure.aggregate) && inDays(measure.range) && !measure.event.where;
}

export function kindOf(cond: Cond): Kind {
  if ('and' in cond || 'or' in cond) return 'group';
  if (isSequence(cond)) return cond.followed_by ? 'then' : 'notThen';
  if (isDid(cond)) return 'did';
  if ('not' in cond && isDid(cond['not'] as Cond) && !('min' in (cond['not'] as Cond))) return 'didNot';
  if (isMeasured(cond)) return 'measure';
  if ('trait' in cond && isTest(cond as Filter)) return 'trait';
  if (cond['is'] === 'identified') return 'identified';
  if (cond['is'] === 'anonymous') return 'anonymous';
  if ('segment' in cond) return 'segment';
  return 'written';
}

export const groupOf = (cond: Cond): { how: 'and' | 'or'; parts: Cond[] } => ('or' in cond ? { how: 'or', parts: cond['or'] as Cond[] } : { how: 'and', parts: 'and' in cond ? (cond['and'] as Cond[]) : [cond] });

/* A group of one is that one; of none, nothing. */
export function grouped(how: 'and' | 'or', parts: Cond[]): Cond | null {
  if (parts.length === 0) return null;
  return parts.length === 1 ? (parts[0] as Cond) : { [how]: parts };
}

export function fresh(kind: Kind, event: string, trait: string, segment: string): Cond {
  switch (kind) {
    case 'didNot':
      return { not: { did: { type: 'track', name: event }, range: { last: 30, unit: 'day' } } };
    case 'then':
      return { did: { type: 'track', name: event }, followed_by: { type: 'track', name: event }, within: { n: 7, unit: 'day' } };
    case 'notThen':
      return { did: { type: 'track', name: event }, not_followed_by: { type: 'track', name: event }, within: { n: 1, unit: 'day' }, range: { last: 14, unit: 'day' } };
    case 'measure':
      return { measure: { aggregate: 'count', event: { type: 'track', name: event } }, op: '>=', value: 3 };
    case 'trait':
      return { trait, op: 'exists' };
    case 'identified':
    case 'anonymous':
      return { is: kind };
    case 'segment':
      return { segment };
    default:
      return { did: { type: 'track', name: event } };
  }
}

/* What was typed, as the property's type asks for. */
export function typed(text: string, type: string | undefined): Value {
  const number = Number(text);
  if (type === 'number' && text.trim() !== '' && !Number.isNaN(number)) return number;
  if (type === 'boolean') return text === 'true';
  return text;
}
