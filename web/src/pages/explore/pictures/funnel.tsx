/* A funnel: a bar a step, a group a colour; what was lost between them can be clicked to the people. */
import { at, type Answer, type Cell } from '../../../api/query';
import { duration, people, percent } from '../../../format';
import { t } from '../../../texts';
import { groupName } from './cells';
import { Who } from '../../../ui/who';

interface Step {
  event: string;
  customers: number | null; // null: too few to be told to this reader
  rate: number | null;
  seconds: number | null;
  row: Cell[];
}

const MOST_GROUPS = 8;

function groups(answer: Answer): { name: string; steps: Step[] }[] {
  const first = at(answer, 'step');
  const found = new Map<string, Step[]>();
  for (const row of answer.rows) {
    const name = groupName(row.slice(0, first), answer.columns);
    const steps = found.get(name) ?? [];
    steps.push({ event: String(row[first + 1]), customers: row[first + 2] as number | null, rate: row[first + 3] as number | null, seconds: row[first + 4] as number | null, row });
    found.set(name, steps);
  }
  return [...found].map(([name, steps]) => ({ name, steps })).sort((a, b) => (b.steps[0]?.customers ?? 0) - (a.steps[0]?.customers ?? 0));
}

function lost(steps: Step[] | undefined, at: number): number | null {
  const before = steps?.[at - 1]?.customers ?? null;
  const now = steps?.[at]?.customers ?? null;
  return before === null || now === null ? null : before - now;
}

export function Funnel({ answer }: { answer: Answer }) {
  const all = groups(answer);
  const shown = all.slice(0, MOST_GROUPS);
  const events = all[0]?.steps.map((step) => step.event) ?? [];
  const most = Math.max(1, ...shown.map((group) => group.steps[0]?.customers ?? 0));
  const split = shown.length > 1 || shown[0]?.name;
  return (
    <div class="stack">
      {split && (
        <div class="chart-legend">
          {shown.map((group, i) => (
            <span key={group.name}>
              <i class={`dot series-${i + 1}`} />
              {group.name}
            </span>
          ))}
        </div>
      )}
      <ol class={split ? 'funnel split' : 'funnel'}>
        {events.map((event, s) => (
          <li key={s}>
            <div class="funnel-head">
              <span class="badge accent">{t.explore.step(s + 1)}</span>
              <strong>{event}</strong>
              {!split && s > 0 && (
                <Who answer={answer} row={shown[0]?.steps[s - 1]?.row ?? []} column="stopped" class="button small plain">
                  {t.explore.lost(people(lost(shown[0]?.steps, s)))}
                </Who>
              )}
            </div>
            {shown.map((group, g) => {
              const step = group.steps[s];
              const before = s > 0 ? group.steps[s - 1] : undefined;
              if (!step) return null;
              return (
                <div key={group.name} class="funnel-row" title={group.name}>
                  <span class="funnel-bar">
                    <i class={`series-${g + 1}`} style={{ width: `${((step.customers ?? 0) / most) * 100}%` }} />
                  </span>
                  <span class="funnel-what">
                    {split && <span class="hidden-text">{group.name}: </span>}
                    <Who answer={answer} row={step.row}>
                      <strong>{people(step.customers)}</strong>
                    </Who>
                    {step.rate !== null && s > 0 && <span>{` · ${percent(step.rate)} ${t.explore.ofFirst}`}</span>}
                    {before?.customers && step.customers !== null && s > 1 && <span>{` · ${percent(step.customers / before.customers)} ${t.explore.ofBefore}`}</span>}
                    {step.seconds !== null && <span class="muted">{` · ${t.explore.takes(duration(step.seconds))}`}</span>}
                  </span>
                </div>
              );
            })}
          </li>
        ))}
      </ol>
      {all.length > shown.length && <p class="notice">{t.explore.groupsCut(shown.length, all.length)}</p>}
    </div>
  );
}

