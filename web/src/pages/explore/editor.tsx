/* The question's text: coloured while it is typed, completed with the names that have arrived.
 * The text lies transparent over the same text in colours; both have the same font and wrapping. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Schema } from '../../api/company';
import { t } from '../../texts';
import { suggest, tokens, type Suggestion } from './language';

interface EditorProps {
  value: string;
  schema: Schema | undefined;
  onChange: (text: string) => void;
  onAsk: () => void;
  onSave?: () => void;
}

export function Editor({ value, schema, onChange, onAsk, onSave }: EditorProps) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [caret, setCaret] = useState<number | null>(null);
  const [chosen, choose] = useState(0);
  const [closed, close] = useState(true);
  const found: Suggestion[] = closed || caret === null ? [] : suggest(value.slice(0, caret), schema);
  const active = Math.min(chosen, found.length - 1);

  useLayoutEffect(() => {
    const box = area.current;
    if (!box) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight + 2}px`;
  }, [value]);

  const accept = (suggestion: Suggestion) => {
    const box = area.current;
    if (!box || caret === null) return;
    const after = value.slice(caret).replace(/^"/, suggestion.text.endsWith('"') ? '' : '"');
    const head = value.slice(0, suggestion.from) + suggestion.text;
    onChange(head + after);
    close(suggestion.kind !== 'start');
    requestAnimationFrame(() => {
      box.focus();
      box.setSelectionRange(head.length, head.length);
      setCaret(head.length);
    });
  };
  const onKey = (event: KeyboardEvent) => {
    const suggestion = found[active];
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      close(true);
      onAsk();
    } else if (onSave && event.key.toLowerCase() === 's' && (event.ctrlKey || event.metaKey)) onSave();
    else if (suggestion && event.key === 'ArrowDown') choose((active + 1) % found.length);
    else if (suggestion && event.key === 'ArrowUp') choose((active + found.length - 1) % found.length);
    else if (suggestion && (event.key === 'Tab' || (event.key === 'Enter' && chosen > 0))) accept(suggestion);
    else if (suggestion && event.key === 'Escape') close(true);
    else return;
    event.preventDefault();
  };
  return (
    <div class="editor">
      <pre class="editor-colours" aria-hidden="true">
        {tokens(value).map((token, i) => (
          <span key={i} class={`tok-${token.kind}`}>
            {token.text}
          </span>
        ))}
        {'\n'}
      </pre>
      <textarea
        ref={area}
        class="input"
        rows={3}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        aria-label={t.explore.question}
        aria-autocomplete="list"
        aria-controls={found.length ? 'editor-list' : undefined}
        aria-activedescendant={found.length ? `editor-${active}` : undefined}
        placeholder={t.explore.hint}
        value={value}
        onInput={(event) => {
          onChange(event.currentTarget.value);
          setCaret(event.currentTarget.selectionStart);
          choose(0);
          close(false);
        }}
        onClick={(event) => setCaret(event.currentTarget.selectionStart)}
        onBlur={() => close(true)}
        onKeyDown={onKey}
      />
      {found.length > 0 && (
        <ul id="editor-list" class="editor-list" role="listbox" aria-label={t.explore.language}>
          {found.map((one, i) => (
            <li
              key={`${one.kind}${one.text}`}
              id={`editor-${i}`}
              role="option"
              aria-selected={i === active}
              onMouseDown={(event) => {
                event.preventDefault();
                accept(one);
              }}
            >
              <span class="clip">{one.shown}</span>
              <small>{one.kind === 'start' ? t.explore.kinds.start : t.explore.kinds[one.kind]}</small>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
