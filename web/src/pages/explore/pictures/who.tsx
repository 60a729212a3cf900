/* A number of people that opens to who they are: a question of its own, from which an audience is a
 * click away. The server says which condition a row stands for (POST /api/v1/query/people). */
import type { ComponentChildren } from 'preact';
import { post } from '../../../api/client';
import type { Answer, Cell } from '../../../api/query';
import { may } from '../../../api/session';
import { go, href } from '../../../router';
import { t } from '../../../texts';
import { failed } from '../../../ui/toast';

/* Forms whose rows stand for people. */
const FORMS = ['count', 'funnel', 'retention', 'repeat', 'lifecycle', 'trend', 'total', 'rfm', 'top', 'compare'];
export const hasPeople = (form: string): boolean => FORMS.includes(form);

async function open(query: string, row: readonly Cell[], column: string | undefined): Promise<void> {
  try {
    const { condition } = await post<{ condition: string }>('/api/v1/query/people', { query, row, ...(column ? { column } : {}) });
    go(href('explore', [], { q: may('personal.read') ? `list customers where ${condition} limit 200` : `count customers where ${condition}` }));
  } catch (error) {
    failed(error);
  }
}

interface WhoProps {
  answer: Answer;
  row: readonly Cell[];
  column?: string; // which number of the row; by default that of its customers
  class?: string;
  children: ComponentChildren;
}

export function Who({ answer, row, column, children, ...more }: WhoProps) {
  return (
    <button
      type="button"
      class={more.class ?? 'who-link'}
      title={t.explore.who}
      onClick={(event) => {
        event.stopPropagation();
        void open(answer.query, row, column);
      }}
    >
      {children}
    </button>
  );
}
