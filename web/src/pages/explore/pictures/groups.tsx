/* One group of an answer at a time, chosen from a list; for pictures that hold no more. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Answer, Cell } from '../../../api/query';
import { t } from '../../../texts';
import { groupName } from './cells';

/* Splits are the columns [from, to). */
export function useGroup(answer: Answer, from: number, to: number): { rows: Cell[][]; choice: ComponentChildren } {
  const name = (row: Cell[]): string => groupName(row.slice(from, to), answer.columns.slice(from, to));
  const groups = [...new Set(answer.rows.map(name))];
  const [chosen, choose] = useState(groups[0] ?? '');
  const group = groups.includes(chosen) ? chosen : (groups[0] ?? '');
  return {
    rows: answer.rows.filter((row) => name(row) === group),
    choice: groups.length > 1 && (
      <label class="row">
        <span class="muted">{t.explore.group}</span>
        <select class="input" value={group} onChange={(event) => choose(event.currentTarget.value)}>
          {groups.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
    ),
  };
}
