/* Copies a text, and says so. */
import { t } from '../texts';
import { Icon } from './icons';
import { say } from './toast';

export async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(t.common.copied);
  } catch {
    say(t.common.copyFailed, { bad: true });
  }
}

export function Copy({ text, label }: { text: string; label?: string }) {
  return (
    <button type="button" class={label ? 'button small' : 'button plain icon small'} aria-label={label ?? t.common.copy} title={t.common.copy} onClick={() => void copy(text)}>
      <Icon name="copy" size={16} />
      {label}
    </button>
  );
}

/* A text as a file, made in the browser. */
export function saveAs(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.setAttribute('data-outside', '');
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
