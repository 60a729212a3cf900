/* A secret that is shown once. */
import type { ComponentChildren } from 'preact';
import { t } from '../texts';
import { Copy } from './copy';
import { Dialog } from './dialog';

export function Secret({ title, text, onClose, children }: { title: string; text: string; onClose: () => void; children?: ComponentChildren }) {
  return (
    <Dialog
      title={title}
      onClose={onClose}
      footer={
        <button type="button" class="button primary" onClick={onClose}>
          {t.guard.kept}
        </button>
      }
    >
      <p>{t.guard.once}</p>
      <div class="secret">
        <code class="code wrap">{text}</code>
        <Copy text={text} label={t.common.copy} />
      </div>
      {children}
    </Dialog>
  );
}
