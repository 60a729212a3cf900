/* The command palette: what commands.ts offers, by typing. Ctrl-K or / opens it. */
import { useRef, useState } from 'preact/hooks';
import { useAsk } from '../api/ask';
import { t } from '../texts';
import { commands, saved, type Command } from './commands';
import { Layer } from './dialog';
import { Icon } from './icons';

export function Palette({ onClose, onKeys }: { onClose: () => void; onKeys: () => void }) {
  const [typed, setTyped] = useState('');
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const names = useAsk('saved', saved);
  const found = commands(typed, names.data, onKeys);
  const chosen = Math.min(at, found.length - 1);
  const run = (command: Command | undefined) => {
    if (!command) return;
    onClose();
    command.run();
  };
  const move = (by: number) => {
    const next = (chosen + by + found.length) % found.length;
    setAt(next);
    list.current?.querySelectorAll('[role=option]')[next]?.scrollIntoView({ block: 'nearest' });
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') move(1);
    else if (event.key === 'ArrowUp') move(-1);
    else if (event.key === 'Enter') run(found[chosen]);
    else return;
    event.preventDefault();
  };
  return (
    <Layer label={t.common.seek} class="palette" onClose={onClose}>
      <input
        autofocus
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found.length ? `palette-${chosen}` : undefined}
        aria-label={t.common.seek}
        placeholder={t.common.seekHint}
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKey}
      />
      <ul ref={list} id="palette-list" role="listbox" aria-label={t.common.seek}>
        {found.map((command, i) => (
          <li key={`${command.group} ${command.text}`} id={`palette-${i}`} role="option" aria-selected={i === chosen} onMouseMove={() => setAt(i)} onClick={() => run(command)}>
            <Icon name={command.icon} size={18} />
            <span class="clip">{command.text}</span>
            <small>{command.hint ?? command.group}</small>
          </li>
        ))}
      </ul>
      {found.length === 0 && <p class="empty">{t.common.palette.nothing}</p>}
    </Layer>
  );
}
