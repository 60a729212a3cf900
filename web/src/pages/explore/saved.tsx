/* Questions that are kept under a name: the list beside the question, and the form of one. */
import { useRef, useState } from 'preact/hooks';
import type { Asked } from '../../api/ask';
import { Problem } from '../../api/client';
import { changeQuestion, removeQuestion, saveQuestion, type Saved } from '../../api/questions';
import { may, SIDES, user, whoIs, type Side } from '../../api/session';
import { go, href } from '../../router';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Choice, Field, said, SaveOrCancel } from '../../ui/form';
import { Card, Failure, Waiting } from '../../ui/parts';
import { failed, say, soon, useLeaving } from '../../ui/toast';

const words = t.explore.saved;
const FEW = 6; // need no search

export const linkTo = (id: number): string => href('explore', [], { saved: String(id) });

/* For whom, and who answers for it. */
export const ofWhom = (one: Saved): string => [one.side === 'neither' ? '' : t.guard.sides[one.side], one.owner].filter(Boolean).join(' · ');

const fits = (one: Saved, low: string): boolean => [one.name, one.description, one.owner, one.query].some((text) => text.toLowerCase().includes(low));

export function SavedList({ asked, current }: { asked: Asked<Saved[]>; current: number | null }) {
  const [typed, setTyped] = useState('');
  const [all, showAll] = useState(false);
  const list = useRef<HTMLElement>(null);
  const leaving = useLeaving();
  const there = asked.data?.filter((one) => !leaving.has(`question ${one.id}`)) ?? [];
  const found = there.filter((one) => fits(one, typed.trim().toLowerCase()));
  const shown = all ? found : found.slice(0, FEW);
  /* The arrows walk from the search through the list. */
  const onKey = (event: KeyboardEvent) => {
    const links = [...(list.current?.querySelectorAll<HTMLElement>('input,a') ?? [])];
    const at = links.indexOf(document.activeElement as HTMLElement);
    if (event.key === 'ArrowDown') links[at + 1]?.focus();
    else if (event.key === 'ArrowUp') links[at - 1]?.focus();
    else if (event.key === 'Enter' && at === 0 && typed && found[0]) go(linkTo(found[0].id));
    else if (event.key === 'Escape' && typed) {
      setTyped('');
      links[0]?.focus();
    } else return;
    event.preventDefault();
  };
  if (asked.data && there.length === 0 && !may('question.write')) return null;
  return (
    <Card title={words.title} note={asked.data && there.length === 0 ? words.empty : undefined} flush={there.length > 0}>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <Waiting lines={3} />}
      {there.length > 0 && (
        <nav ref={list} class="starts" aria-label={words.title} onKeyDown={onKey}>
          {there.length > FEW && (
            <input class="input" type="search" aria-label={words.search} placeholder={words.search} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
          )}
          {shown.map((one) => (
            <a key={one.id} href={linkTo(one.id)} aria-current={one.id === current ? 'true' : undefined} title={one.description || one.query}>
              {one.name}
              <small class="clip">{ofWhom(one) || one.query}</small>
            </a>
          ))}
          {typed && found.length === 0 && <p class="muted">{words.nothing}</p>}
          {shown.length < found.length && (
            <button type="button" class="button small plain" onClick={() => showAll(true)}>
              {t.common.showAll(found.length)}
            </button>
          )}
        </nav>
      )}
    </Card>
  );
}

/* What somebody else was told; the question itself may have changed meanwhile, so it is compared again. */
const back = (from: Saved, to: Saved, changed: () => void): void =>
  void changeQuestion(from, { name: to.name, description: to.description, owner: to.owner, side: to.side, query: to.query })
    .then(changed)
    .catch(failed);

/* Keeps what is asked under the name it has. */
export async function keep(was: Saved, query: string, changed: () => void): Promise<void> {
  const now = await changeQuestion(was, { query });
  say(words.kept(now.name), { undo: () => back(now, was, changed) });
  changed();
}

export function removeSoon(one: Saved, changed: () => void): void {
  soon(`question ${one.id}`, words.removed(one.name), () => removeQuestion(one.id).then(changed));
  go(href('explore'));
}

interface SavedFormProps {
  was: Saved | null; // null: a new one
  query: string;
  onClose: () => void;
  changed: () => void;
}

export function SavedForm({ was, query, onClose, changed }: SavedFormProps) {
  const [problem, setProblem] = useState<Problem>();
  const me = user();
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    const field = said(event);
    const wanted = { name: field('name'), description: field('description'), owner: field('owner'), side: field('side') as Side };
    try {
      const now = was ? await changeQuestion(was, wanted) : await saveQuestion({ ...wanted, query });
      say(words.kept(now.name), { undo: () => (was ? back(now, was, changed) : removeSoon(now, changed)) });
      changed();
      onClose();
      if (!was) go(linkTo(now.id), 'replace');
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, 'failed', String(error)));
    }
  };
  const taken = problem?.status === 409 && problem.code === 'exists' ? problem.message : undefined;
  return (
    <Dialog title={was ? words.editTitle : words.newTitle} onClose={onClose}>
      <form class="stack" onSubmit={(event) => void save(event)}>
        <Field label={words.name} wrong={taken}>
          <input class="input" name="name" required maxLength={200} autofocus autocomplete="off" defaultValue={was?.name ?? ''} />
        </Field>
        <Field label={words.description} why={words.descriptionWhy}>
          <textarea class="input" name="description" rows={2} defaultValue={was?.description ?? ''} />
        </Field>
        <div class="fields">
          <Field label={words.owner}>
            <input class="input" name="owner" defaultValue={was ? was.owner : me ? whoIs(me) : ''} />
          </Field>
          <Choice name="side" label={words.side} value={was?.side ?? me?.side ?? 'neither'} of={SIDES} words={t.guard.sides} />
        </div>
        <code class="code wrap">{was?.query ?? query}</code>
        {problem && !taken && <Failure problem={problem} />}
        <SaveOrCancel onClose={onClose} />
      </form>
    </Dialog>
  );
}
