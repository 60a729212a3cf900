/* Numbers of people that open to who they are: a question of its own, from which an audience is a
 * click away. Which condition a row of an answer stands for is the server's to say
 * (POST /api/v1/query/people). */
import type { ComponentChildren } from 'preact';
import { post } from '../api/client';
import type { Answer, Cell } from '../api/query';
import { may } from '../api/session';
import { count, people } from '../format';
import { go, href } from '../router';
import { t } from '../texts';
import { failed } from './toast';

/* Forms whose rows stand for people. */
const FORMS = ['count', 'funnel', 'retention', 'repeat', 'lifecycle', 'trend', 'total', 'rfm', 'top', 'compare'];

/* Columns of them that count people. */
const PEOPLE = /^(customers|active|new|retained|returned|lapsed|dormant|size|[ab]_customers)$|^unique customers/;
export const countsPeople = (form: string, column: string): boolean => FORMS.includes(form) && PEOPLE.test(column);

const WHO_LIMIT = 200;
/* Is the one number that a question answers with, or each of its numbers, a count of customers? */
export const asksPeople = (question: string): boolean => /^(count customers|(total of|trend of) unique customers)\b/.test(question);

/* Where those stand who fit: a list, or to whom single customers are not shown, their number. '' is all.
 * `at`: as of that moment. */
export function peopleHref(condition: string, at?: string): string {
  const where = condition && ` where ${condition}`;
  return href('explore', [], { q: may('personal.read') ? `list customers${where} limit ${WHO_LIMIT}` : `count customers${where}`, at });
}

/* Of several rows: whoever is in one of them. */
export async function openPeople(query: string, rows: readonly (readonly Cell[])[], { column, at }: { column?: string | undefined; at?: string | undefined } = {}): Promise<void> {
  try {
    const said = await Promise.all(rows.map((row) => post<{ condition: string }>('/api/v1/query/people', { query, row, column, at })));
    const all = said.map((one) => one.condition);
    go(peopleHref(all.length > 1 ? all.map((one) => `(${one})`).join(' or ') : (all[0] ?? ''), at));
  } catch (error) {
    failed(error);
  }
}

interface WhoProps {
  answer: Pick<Answer, 'query'>;
  row?: readonly Cell[];
  rows?: readonly (readonly Cell[])[]; // in place of one
  column?: string; // which number of the row; by default that of its customers
  at?: string | undefined; // when it was asked; by default now
  class?: string;
  children: ComponentChildren;
}

export function Who({ answer, row, rows, column, at, children, ...more }: WhoProps) {
  return (
    <button
      type="button"
      class={more.class ?? 'who-link'}
      title={t.explore.who}
      onClick={() => void openPeople(answer.query, rows ?? (row ? [row] : []), { column, at })}
    >
      {children}
    </button>
  );
}

/* A number of people where the condition is known; of nobody there is nothing to open. */
export function WhoFits({ n, where }: { n: number | null; where: string }) {
  if (!n) return <>{people(n)}</>;
  return (
    <a class="who-link" href={peopleHref(where)} title={t.explore.who}>
      {count(n)}
    </a>
  );
}
