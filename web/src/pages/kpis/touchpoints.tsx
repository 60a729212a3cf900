/* Where customers serve themselves and where staff does: completion, time, fall-back. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { touchpoints, type Channel, type Touchpoint } from '../../api/kpis';
import { may } from '../../api/session';
import { count, duration, NONE, percent, plainDay } from '../../format';
import { href } from '../../router';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { Badge, Bar, Card, Failure, Notes, Waiting } from '../../ui/parts';
import { Table } from '../../ui/table';
import { failed } from '../../ui/toast';
import { Who } from '../../ui/who';
import { definitionOf, put, TouchpointForm } from './touchpoint';
import { addDays, known } from './write';

/* What is known opens: a number of customers to who they are, others to their question. */
function number(row: Channel, value: number | null, write: (n: number) => string, query: string | undefined, step?: number) {
  if (!known(value)) return <span class="muted">{row.hidden ? t.kpis.hidden : NONE}</span>;
  if (!query || value === 0 || !may('query')) return write(value);
  if (step) return <Who answer={{ query }} row={[step]}>{write(value)}</Who>;
  return (
    <a class="who-link" href={href('explore', [], { q: query })} title={t.kpis.question}>
      {write(value)}
    </a>
  );
}

function Task({ task, edit, changed }: { task: Touchpoint; edit: () => void; changed: () => void }) {
  const words = t.kpis.touchpoints;
  return (
    <section class="stack">
      <div class="kpi-task">
        <div>
          <h3>{task.name}</h3>
          <p class="muted">{words.task(task.start, task.end, task.within)}</p>
        </div>
        {may('kpi.write') && (
          <div class="row no-print">
            <button type="button" class="button small" onClick={edit}>
              {t.kpis.edit}
            </button>
            <button type="button" class="button small plain danger" onClick={() => void put(task.id, null, definitionOf(task), changed).catch(failed)}>
              {t.kpis.remove}
            </button>
          </div>
        )}
      </div>
      {task.channels.length === 0 ? (
        <p class="muted">{words.nobody}</p>
      ) : (
        <Table
          caption={`${words.title}: ${task.name}`}
          rows={task.channels}
          rowKey={(row) => row.channel ?? ''}
          columns={[
            { title: words.channel, cell: (row) => <span class="row">{row.channel ?? words.none} {row.staff && <Badge>{words.staff}</Badge>}</span> },
            { title: words.started, number: true, sort: (row) => row.started, cell: (row) => number(row, row.started, count, row.questions.completion, 1) },
            { title: words.completed, number: true, sort: (row) => row.completed, cell: (row) => number(row, row.completed, count, row.questions.completion, 2) },
            {
              title: words.completion,
              number: true,
              sort: (row) => row.completion_rate,
              cell: (row) => (
                <span class="kpi-rate">
                  <Bar share={row.completion_rate ?? 0} />
                  {number(row, row.completion_rate, percent, row.questions.completion)}
                </span>
              ),
            },
            { title: words.time, number: true, sort: (row) => row.median_seconds, cell: (row) => number(row, row.median_seconds, duration, row.questions.completion) },
            { title: words.fellBack, number: true, sort: (row) => row.fell_back, cell: (row) => number(row, row.fell_back, count, row.questions.fallback, 2) },
            { title: words.fallback, number: true, sort: (row) => row.fallback_rate, cell: (row) => number(row, row.fallback_rate, percent, row.questions.fallback) },
          ]}
        />
      )}
      <Notes of={task.notes} />
    </section>
  );
}

interface Adding {
  adding: boolean;
  add: () => void;
  done: () => void;
}

export function Touchpoints({ adding, add, done }: Adding) {
  const asked = useAsk('touchpoints', touchpoints);
  const [editing, edit] = useState<Touchpoint>();
  const none = asked.data?.touchpoints.length === 0;
  if (none && !may('kpi.write')) return null;
  return (
    <Card
      title={t.kpis.touchpoints.title}
      note={asked.data && t.kpis.touchpoints.note(plainDay(asked.data.from), plainDay(addDays(asked.data.to, -1)))}
      actions={
        may('kpi.write') && (
          <button type="button" class="button small" onClick={add}>
            <Icon name="plus" size={16} />
            {t.kpis.touchpoints.add}
          </button>
        )
      }
    >
      {none && <p class="muted">{t.kpis.touchpoints.empty}</p>}
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <Waiting />}
      <div class="stack kpi-tasks">
        {asked.data?.touchpoints.map((task) => (
          <Task key={task.id} task={task} edit={() => edit(task)} changed={asked.again} />
        ))}
      </div>
      {(editing || (adding && may('kpi.write'))) && (
        <TouchpointForm
          task={editing}
          taken={asked.data?.touchpoints.map((task) => task.id) ?? []}
          onClose={() => (editing ? edit(undefined) : done())}
          changed={asked.again}
        />
      )}
    </Card>
  );
}
