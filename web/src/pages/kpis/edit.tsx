/* A KPI as a form. What can be said here is said here; the question is judged by the server. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { Problem } from '../../api/client';
import { addKpi, FORMS, GRAINS, kpis, putKpi, removeKpi, UNITS, type Definition, type Edit, type Form, type Kpi } from '../../api/kpis';
import { go } from '../../router';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Choice, Field, SaveOrCancel } from '../../ui/form';
import { Failure } from '../../ui/parts';
import { failed, say } from '../../ui/toast';

type Whole = Kpi & { edits: Edit[] };
type Wrong = Partial<Record<string, string>>;


/* What was written: without what the server adds to it. */
export const definitionOf = (kpi: Whole): Definition => kpi.edits.find((edit) => edit.version === kpi.version)?.definition ?? {};

interface Read {
  id: string;
  definition: Definition;
  wrong: Wrong;
}

const list = (text: string): string[] => text.split(',').map((part) => part.trim()).filter(Boolean);

function readParts(form: Exclude<Form, 'query'>, text: string, ids: string[], out: Read): void {
  const parts = list(text);
  const missing = parts.map((part) => (form === 'sum' ? part.replace(/^-/, '') : part)).find((id) => !ids.includes(id));
  if (!parts.length) out.wrong['parts'] = t.kpis.form.partsNone;
  else if (form === 'ratio' && parts.length !== 2) out.wrong['parts'] = t.kpis.form.partsTwo;
  else if (missing) out.wrong['parts'] = t.kpis.form.partsUnknown(missing);
  out.definition[form] = parts;
}

/* Members that the form leaves empty are left out: the usual ones hold. */
function read(data: FormData, form: Form, ids: string[], isNew: boolean): Read {
  const text = (name: string): string => String(data.get(name) ?? '').trim();
  const number = (name: string): number | undefined => (text(name) === '' ? undefined : Number(text(name)));
  const out: Read = { id: text('id'), definition: {}, wrong: {} };
  const { definition, wrong } = out;
  if (isNew && (!/^[a-z0-9_-]+$/.test(out.id) || out.id === 'tree')) wrong['id'] = t.kpis.form.idWrong;
  else if (isNew && ids.includes(out.id)) wrong['id'] = t.kpis.form.idTaken;
  for (const name of ['name', 'description', 'currency', 'owner_marketing', 'owner_it'] as const) if (text(name)) definition[name] = text(name);
  if (form !== 'query') readParts(form, text('parts'), ids, out);
  else if (text('query')) definition.query = text('query');
  else wrong['query'] = t.kpis.form.queryMissing;
  definition.unit = text('unit') as Definition['unit'];
  definition.direction = text('direction') as Definition['direction'];
  definition.grain = text('grain') as Definition['grain'];
  if (definition.unit !== 'money') delete definition.currency;
  const digits = number('digits');
  if (digits !== undefined) definition.digits = digits;
  const value = number('target');
  if (value !== undefined && text('by')) definition.target = { value, by: text('by') };
  else if (value !== undefined || text('by')) wrong['target'] = t.kpis.form.targetHalf;
  const low = number('low');
  const high = number('high');
  if (low !== undefined || high !== undefined) definition.guardrail = { ...(low === undefined ? {} : { low }), ...(high === undefined ? {} : { high }) };
  if (low !== undefined && high !== undefined && low > high) wrong['low'] = t.kpis.form.railsWrong;
  return out;
}

interface MemberProps {
  name: string;
  label: string;
  value?: string | number | undefined;
  why?: string;
  wrong: Wrong;
  type?: 'text' | 'number' | 'date';
  autofocus?: boolean;
}

function Member({ name, label, value, why, wrong, type = 'text', autofocus }: MemberProps) {
  return (
    <Field label={label} why={why} wrong={wrong[name]}>
      <input class="input" type={type as 'text'} name={name} defaultValue={value === undefined ? '' : String(value)} aria-invalid={!!wrong[name]} autofocus={autofocus} />
    </Field>
  );
}

function undoOf(saved: Kpi, was: Whole | undefined, after: () => void): () => void {
  const back = (): Promise<unknown> => (was ? putKpi(saved.id, definitionOf(was), saved.version) : removeKpi(saved.id).then(() => go('/kpis')));
  return () => void back().then(() => (say(t.kpis.undone), was && after())).catch(failed);
}

export function Editing({ kpi, onClose, onSaved }: { kpi?: Whole; onClose: () => void; onSaved: (saved: Kpi) => void }) {
  const words = t.kpis.form;
  const now: Definition = kpi ? definitionOf(kpi) : {};
  const others = useAsk('ids', kpis);
  const [form, setForm] = useState<Form>(kpi?.form ?? 'query');
  const [wrong, setWrong] = useState<Wrong>({});
  const [problem, setProblem] = useState<Problem>();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const said = read(new FormData(event.currentTarget as HTMLFormElement), form, others.data?.map((one) => one.id) ?? [], !kpi);
    setWrong(said.wrong);
    setProblem(undefined);
    if (Object.keys(said.wrong).length) return;
    try {
      const saved = kpi ? await putKpi(kpi.id, said.definition, kpi.version) : await addKpi(said.id, said.definition);
      say(kpi ? t.kpis.saved(saved.name, saved.version) : t.kpis.added(saved.name), { undo: undoOf(saved, kpi, () => onSaved(saved)) });
      onSaved(saved);
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, 'failed', String(error)));
    }
  };
  const parts = form === 'query' ? [] : (now[form] ?? []);
  return (
    <Dialog title={kpi ? words.editTitle(kpi.name) : words.addTitle} onClose={onClose}>
      <form class="stack kpi-form" noValidate onSubmit={(event) => void submit(event)}>
        {!kpi && <Member name="id" label={words.id} why={words.idWhy} wrong={wrong} autofocus />}
        <Member name="name" label={words.name} value={now.name} wrong={wrong} autofocus={!!kpi} />
        <Member name="description" label={words.description} value={now.description} wrong={wrong} />
        <Field label={words.form}>
          <select class="input" value={form} onChange={(event) => setForm(event.currentTarget.value as Form)}>
            {FORMS.map((one) => (
              <option key={one} value={one}>
                {words.forms[one]}
              </option>
            ))}
          </select>
        </Field>
        {form === 'query' ? (
          <Field label={words.query} why={words.queryWhy} wrong={wrong['query']}>
            <textarea class="input mono" name="query" rows={3} spellcheck={false} defaultValue={now.query ?? ''} aria-invalid={!!wrong['query']} />
          </Field>
        ) : (
          <Member key={form} name="parts" label={words.parts} value={parts.join(', ')} why={words.partsWhy} wrong={wrong} />
        )}
        <div class="fields">
          <Choice name="unit" label={words.unit} value={now.unit ?? 'count'} of={UNITS} words={t.kpis.definition.units} />
          <Member name="currency" label={words.currency} value={now.currency} wrong={wrong} />
          <Choice name="direction" label={words.direction} value={now.direction ?? 'up'} of={['up', 'down']} words={t.kpis.definition.directions} />
          <Choice name="grain" label={words.grain} value={now.grain ?? 'day'} of={GRAINS} words={t.kpis.series.grains} />
          <Member name="target" label={words.target} value={now.target?.value} wrong={wrong} type="number" />
          <Member name="by" label={words.targetBy} value={now.target?.by} wrong={wrong} type="date" />
          <Member name="low" label={words.low} value={now.guardrail?.low} wrong={wrong} type="number" />
          <Member name="high" label={words.high} value={now.guardrail?.high} wrong={wrong} type="number" />
          <Member name="owner_marketing" label={words.ownerMarketing} value={now.owner_marketing} wrong={wrong} />
          <Member name="owner_it" label={words.ownerIt} value={now.owner_it} wrong={wrong} />
          <Member name="digits" label={words.digits} value={now.digits} wrong={wrong} type="number" />
        </div>
        <p class="muted">{words.unitWhy}</p>
        {problem && <Failure problem={problem} />}
        <SaveOrCancel onClose={onClose} />
      </form>
    </Dialog>
  );
}
