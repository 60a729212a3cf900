/* Fields of forms: a label, what is typed or chosen, why, and what is wrong with it. */
import type { ComponentChildren } from 'preact';
import { t } from '../texts';

interface FieldProps {
  label: string;
  why?: string | undefined;
  wrong?: string | undefined;
  children: ComponentChildren;
}

export function Field({ label, why, wrong, children }: FieldProps) {
  return (
    <label class="field">
      <span>{label}</span>
      {children}
      {wrong ? (
        <small class="wrong" role="alert">
          {wrong}
        </small>
      ) : (
        why && <small>{why}</small>
      )}
    </label>
  );
}

interface ChoiceProps<Name extends string> {
  name: string;
  label: string;
  value: Name;
  of: readonly Name[];
  words: Record<Name, string>;
}

/* One of a few, in a form that is read when it is sent. */
export function Choice<Name extends string>({ name, label, value, of, words }: ChoiceProps<Name>) {
  return (
    <Field label={label}>
      <select class="input" name={name}>
        {of.map((one) => (
          <option key={one} value={one} selected={one === value}>
            {words[one]}
          </option>
        ))}
      </select>
    </Field>
  );
}

/* The end of a form in a dialog. */
export function SaveOrCancel({ onClose }: { onClose: () => void }) {
  return (
    <div class="row">
      <button class="button primary">{t.common.save}</button>
      <button type="button" class="button" onClick={onClose}>
        {t.common.cancel}
      </button>
    </div>
  );
}

/* What a form says: trimmed, nothing as ''. */
export function said(event: Event): (name: string) => string {
  const data = new FormData(event.currentTarget as HTMLFormElement);
  return (name) => String(data.get(name) ?? '').trim();
}
