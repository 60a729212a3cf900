/* Questions and answers; docs/query-language.md. */
import { post } from './client';

export type Cell = string | number | boolean | null;

export interface AnswerColumn {
  name: string;
  type: 'string' | 'number' | 'integer' | 'boolean' | 'time' | 'date';
}

export interface Cost {
  rows: number;
  blocks: number;
  bytes: number;
  ms: number;
  cpu_ms: number;
}

export interface Answer {
  query: string; // canonical
  columns: AnswerColumn[];
  rows: Cell[][];
  notes?: string[];
  cut?: boolean;
  cost: Cost;
}

export type QueryJson = { form: string } & Record<string, unknown>;

/* `at`: as of that moment. */
export const ask = (query: string | QueryJson, signal?: AbortSignal, at?: string): Promise<Answer> => post('/api/v1/query', { query, at }, signal);

/* Both forms of a question; nothing is asked. */
export const parse = (query: string | QueryJson, signal?: AbortSignal): Promise<{ text: string; json: QueryJson }> =>
  post('/api/v1/query/parse', { query }, signal);

/* What stands behind "where" of a question that only counts. */
export const conditionOf = (text: string): string => text.replace(/^count customers where /, '');

/* A text as the language writes it. */
export const quoted = (text: string): string => JSON.stringify(text);
/* A property or trait as the language writes it. */
export const named = (path: string): string => (/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$/i.test(path) ? path : `\`${path.replaceAll('`', '``')}\``);
export const matching = (text: string): string => quoted(`(?i)${text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}`);

export function at(answer: Answer, name: string): number {
  return answer.columns.findIndex((column) => column.name === name);
}
