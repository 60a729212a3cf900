/* A touchpoint task as a form; what its parts mean is judged by the server. */
import { useState } from 'preact/hooks';
import { Problem } from '../../api/client';
import { putTouchpoint, removeTouchpoint, type Touchpoint, type TouchpointDefinition } from '../../api/kpis';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Field, said, SaveOrCancel } from '../../ui/form';
import { Failure } from '../../ui/parts';
import { failed, say } from '../../ui/toast';

const ID = /^[a-z0-9_-]+$/;
const words = t.kpis.touchpoints;

export const definitionOf = ({ name, property, start, end, within, fallback_within, staff }: Touchpoint): TouchpointDefinition => ({ name, property, start, end, within, fallback_within, staff });

/* Adds, changes or, without a definition, removes it; and how to take that back. */
export async function put(id: string, to: TouchpointDefinition | null, was: TouchpointDefinition | null, changed: () => void): Promise<void> {
  await (to ? putTouchpoint(id, to) : removeTouchpoint(id));
  const name = (to ?? was)?.name ?? id;
  say(to ? words.saved(name) : words.removed(name), { undo: () => void (was ? putTouchpoint(id, was) : removeTouchpoint(id)).then(changed).catch(failed) });
  changed();
}

export function TouchpointForm({ task, taken, onClose, changed }: { task?: Touchpoint | undefined; taken: string[]; onClose: () => void; changed: () => void }) {
  const [problem, setProblem] = useState<Problem>();
  const [wrong, setWrong] = useState('');
  const save = (event: SubmitEvent) => {
    event.preventDefault();
    const field = said(event);
    const id = task?.id ?? field('id');
    const misfit = task ? '' : !ID.test(id) ? t.kpis.form.idWrong : taken.includes(id) ? t.kpis.form.idTaken : '';
    setWrong(misfit);
    if (misfit) return;
    const definition: TouchpointDefinition = {
      name: field('name') || id,
      property: field('property'),
      start: field('start'),
      end: field('end'),
      within: field('within'),
      fallback_within: field('fallback_within'),
      staff: field('staff').split(',').map((one) => one.trim()).filter(Boolean),
    };
    put(id, definition, task ? definitionOf(task) : null, changed)
      .then(onClose)
      .catch((error: unknown) => setProblem(error instanceof Problem ? error : new Problem(0, 'failed', String(error))));
  };
  const text = (name: keyof TouchpointDefinition, otherwise: string) => <input class="input" name={name} required spellcheck={false} defaultValue={String(task?.[name] ?? otherwise)} />;
  return (
    <Dialog title={task ? words.editTitle(task.name) : words.add} onClose={onClose}>
      <form class="stack" onSubmit={save}>
        {!task && (
          <Field label={t.kpis.form.id} why={t.kpis.form.idWhy} wrong={wrong}>
            <input class="input" name="id" required autofocus autocomplete="off" />
          </Field>
        )}
        <Field label={t.kpis.form.name}>
          <input class="input" name="name" defaultValue={task?.name ?? ''} autofocus={!!task} />
        </Field>
        <Field label={words.start} why={words.startWhy}>
          {text('start', '')}
        </Field>
        <Field label={words.end}>{text('end', '')}</Field>
        <div class="fields">
          <Field label={words.within}>{text('within', '1 day')}</Field>
          <Field label={words.fallbackWithin}>{text('fallback_within', '7 days')}</Field>
          <Field label={words.property} why={words.propertyWhy}>
            {text('property', 'context.channel')}
          </Field>
          <Field label={words.staffChannels} why={words.staffWhy}>
            <input class="input" name="staff" required defaultValue={(task?.staff ?? ['store', 'phone']).join(', ')} />
          </Field>
        </div>
        {problem && <Failure problem={problem} />}
        <SaveOrCancel onClose={onClose} />
      </form>
    </Dialog>
  );
}
