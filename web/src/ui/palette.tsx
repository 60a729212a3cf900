/* The command palette: pages, actions, customers, questions, by typing. Ctrl-K or / opens it. */
import { useRef, useState } from 'preact/hooks';
import { may } from '../api/session';
import { PAGES } from '../pages';
import { go, href } from '../router';
import { t } from '../texts';
import { Layer } from './dialog';
import { Icon, type IconName } from './icons';
import { chooseTheme, isDark } from './theme';

interface Command {
  group: string;
  icon: IconName;
  text: string;
  hint?: string;
  run: () => void;
}

const QUESTION = /^(count|list|funnel|retention|repeat|trend|total|time|paths|attribute|sessions|rfm|top|lifecycle)\s/i;

function commands(typed: string): Command[] {
  const text = typed.trim();
  const fits = (words: string): boolean => words.toLowerCase().includes(text.toLowerCase());
  const found: Command[] = [];
  if (QUESTION.test(text)) found.push({ group: t.common.palette.actions, icon: 'explore', text: t.common.palette.ask(text), run: () => go(href('explore', [], { q: text })) });
  for (const page of PAGES)
    if (may(page.right) && fits(t.common.pages[page.name])) found.push({ group: t.common.palette.pages, icon: page.name, text: t.common.pages[page.name], hint: `g ${page.key}`, run: () => go(href(page.name)) });
  if (text && !QUESTION.test(text)) found.push({ group: t.common.palette.customers, icon: 'person', text: t.common.palette.find(text), run: () => go(href('customers', [], { find: text })) });
  if (fits(t.common.palette.dark)) found.push({ group: t.common.palette.actions, icon: 'moon', text: t.common.palette.dark, run: () => chooseTheme(isDark() ? 'light' : 'dark') });
  if (fits(t.common.print)) found.push({ group: t.common.palette.actions, icon: 'print', text: t.common.print, run: () => setTimeout(() => print(), 50) });
  return found;
}

export function Palette({ onClose }: { onClose: () => void }) {
  const [typed, setTyped] = useState('');
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const found = commands(typed);
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
          <li key={command.text} id={`palette-${i}`} role="option" aria-selected={i === chosen} onMouseMove={() => setAt(i)} onClick={() => run(command)}>
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
