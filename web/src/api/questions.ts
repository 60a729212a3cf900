/* Questions under a name, for both sides to open; docs/http.md. */
import { call, get, post } from './client';
import type { Side } from './session';

export interface Saved {
  id: number;
  name: string;
  description: string;
  owner: string;
  side: Side;
  version: number;
  query: string; // canonical
  changed_at: string;
  changed_by: string;
}

export type Wanted = Partial<Pick<Saved, 'name' | 'description' | 'owner' | 'side' | 'query'>>;

const PAGE = 1000;
const one = (id: number): string => `/api/v1/questions/${id}`;

/* All of them, by name. */
export async function questions(signal?: AbortSignal): Promise<Saved[]> {
  const all: Saved[] = [];
  let cursor: string | undefined;
  do {
    const page = await get<{ questions: Saved[]; next_cursor?: string }>(`/api/v1/questions?limit=${PAGE}${cursor ? `&cursor=${cursor}` : ''}`, signal);
    all.push(...page.questions);
    cursor = page.next_cursor;
  } while (cursor);
  return all.sort((a, b) => a.name.localeCompare(b.name));
}

export const saveQuestion = (wanted: Wanted): Promise<Saved> => post('/api/v1/questions', wanted);
/* Only if nobody has changed it meanwhile. */
export const changeQuestion = (was: Saved, to: Wanted): Promise<Saved> => call('PUT', `${one(was.id)}?version=${was.version}`, to);
export const removeQuestion = (id: number): Promise<void> => call('DELETE', one(id));
