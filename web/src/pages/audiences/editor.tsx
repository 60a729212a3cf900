/* One audience: builder and text, each the other's mirror; the number of people while typing; who
 * would enter and leave before it is saved. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { useAsk, useSettled } from '../../api/ask';
import { send, type Problem } from '../../api/client';
import { loadSchema } from '../../api/company';
import { conditionOf, parse, quoted, type QueryJson } from '../../api/query';
import { preview, removeSegment, saveSegment, segments, sizes, type Member, type Preview, type Segment } from '../../api/segments';
import { may } from '../../api/session';
import { ago } from '../../format';
import { go, href } from '../../router';
import { t } from '../../texts';
import { Chart } from '../../ui/chart';
import { saveAs } from '../../ui/copy';
import { Field, said } from '../../ui/form';
import { Badge, Card, Failure, Notes, PageHead, WaitingCard } from '../../ui/parts';
import { failed, say, soon } from '../../ui/toast';
import { WhoFits } from '../../ui/who';
import { Editor } from '../explore/editor';
import '../explore/explore.css';
import { Builder } from './builder';
import { groupOf, type Cond } from './tree';

const STILL_MS = 250;

function People({ members }: { members: Member[] }) {
  return (
    <ul class="people">
      {members.map((member) => {
        const id = member.user_id ?? member.anonymous_id ?? '';
        return (
          <li key={member.customer}>
            <a href={href('customers', [member.user_id ? `user_id=${id}` : `anonymous_id=${id}`])}>{id}</a>
          </li>
        );
      })}
    </ul>
  );
}

function Count({ said, saved, problem, busy }: { said: Preview | undefined; saved: Segment | null; problem: Problem | undefined; busy: boolean }) {
  const fits = said ? conditionOf(said.query) : '';
  const before = saved ? `in segment ${quoted(saved.name)}` : '';
  const who = (n: number | null, where: string) => <WhoFits n={n} where={where} />;
  return (
    <Card title={t.audiences.count}>
      <div class={busy ? 'stack busy' : 'stack'} aria-live="polite">
        {problem && <Failure problem={problem} />}
        {!said && !problem && <p class="muted">{t.audiences.unfinished}</p>}
        {said && !problem && (
          <>
            <p class="how-many">{who(said.size, fits)}</p>
            <p class="muted">{said.size === null ? t.audiences.few : t.audiences.share(said.size, said.customers)}</p>
            <Notes of={said.notes} />
            {said.against && (
              <section class="stack" aria-label={t.audiences.against}>
                <p class="row">
                  <Badge tone="good">
                    +{who(said.against.enter, `(${fits}) and not ${before}`)} {t.audiences.enter}
                  </Badge>
                  <Badge tone="bad">
                    −{who(said.against.leave, `${before} and not (${fits})`)} {t.audiences.leave}
                  </Badge>
                  <Badge>
                    {who(said.against.stay, `(${fits}) and ${before}`)} {t.audiences.stay}
                  </Badge>
                </p>
              </section>
            )}
            {!!said.sample?.length && (
              <>
                <h3>{t.audiences.sample}</h3>
                <People members={said.sample} />
              </>
            )}
            <p class="cost">{t.audiences.took(said.cost.ms, said.cost.rows)}</p>
          </>
        )}
      </div>
    </Card>
  );
}

function History({ id }: { id: number }) {
  const asked = useAsk(`sizes ${id}`, (signal) => sizes(id, signal));
  const drawn = useMemo(() => {
    const all = asked.data ?? [];
    return { times: all.map((one) => new Date(one.at).getTime() / 1000), series: [{ name: t.audiences.size, values: all.map((one) => one.size) }] };
  }, [asked.data]);
  if (!asked.data || asked.data.length < 2) return null;
  return (
    <Card title={t.audiences.time}>
      <Chart label={t.audiences.time} times={drawn.times} series={drawn.series} hours height={180} />
    </Card>
  );
}

const parts = (where: Cond | null): number => (where ? groupOf(where).parts.length : 0);

/* Each side follows the other: the text by its other form, the builder with the number of people. */
export function Audience({ saved, begin = '' }: { saved: Segment | null; begin?: string }) {
  const schema = useAsk('schema', loadSchema);
  const others = useAsk('segments', segments);
  const [text, setText] = useState(saved?.query ?? begin);
  const [where, setWhere] = useState<Cond | null>((saved?.json['where'] as Cond | undefined) ?? null);
  const [asked, setAsked] = useState<string | QueryJson>(saved?.query ?? begin);
  const settled = useSettled(asked, STILL_MS);
  const key = settled === '' ? null : typeof settled === 'string' ? settled : JSON.stringify(settled);
  const counted = useAsk(key, (signal) => preview(settled, saved?.id ?? null, signal));
  const [shown, show] = useState<Preview>();
  useEffect(() => {
    if (!counted.data || settled !== asked) return;
    show(counted.data);
    if (typeof settled === 'string') setWhere((counted.data.json['where'] as Cond | undefined) ?? null);
  }, [counted.data]);
  // What the builder says is always whole: its text needs not wait until the fingers are still.
  const written = useAsk(typeof asked === 'string' ? null : JSON.stringify(asked), (signal) => parse(asked, signal));
  useEffect(() => {
    if (written.data) setText(conditionOf(written.data.text));
  }, [written.data]);
  const edit = (to: string) => {
    setText(to);
    setAsked(to.trim());
  };
  const build = (to: Cond | null) => {
    if (parts(to) < parts(where)) say(t.audiences.tookAway, { undo: () => build(where) });
    setWhere(to);
    if (!to) setText('');
    setAsked(to ? { form: 'count', where: to } : '');
  };
  const save = (event: SubmitEvent) => {
    event.preventDefault();
    const field = said(event);
    saveSegment(saved?.id ?? null, { name: field('name'), query: text, purpose: field('purpose'), owners: { marketing: field('marketing'), it: field('it') } })
      .then((now) => {
        say(t.audiences.saved(now.name));
        go(href('audiences'));
      })
      .catch(failed);
  };
  if (!schema.data || !others.data) return schema.problem ? <Failure problem={schema.problem} /> : <WaitingCard lines={8} />;
  const known = { schema: schema.data, segments: others.data.filter((one) => one.id !== saved?.id) };
  return (
    <>
      <PageHead
        title={saved?.name ?? t.audiences.new}
        lead={saved ? t.audiences.versionOf(saved.version, saved.changed_by, ago(saved.changed_at)) : t.audiences.newLead}
        back={{ href: '/audiences', text: t.audiences.all }}
      >
        {saved && may('segment.write') && (
          <button type="button" class="button plain danger" onClick={() => removeSoon(saved)}>
            {t.audiences.remove}
          </button>
        )}
        {saved && may('export') && (
          <button type="button" class="button" onClick={() => void exportCsv(saved)}>
            {t.audiences.export}
          </button>
        )}
        {may('segment.write') && (
          <button class="button primary" form="audience" disabled={!text.trim() || !!counted.problem}>
            {t.audiences.save}
          </button>
        )}
      </PageHead>
      <div class="split">
        <div class="stack">
          <Card title={t.audiences.builder}>
            <Builder value={where} known={known} onChange={build} />
          </Card>
          <Card title={t.audiences.text} note={t.audiences.textNote}>
            <Editor value={text} schema={schema.data} onChange={edit} onAsk={() => counted.again()} />
          </Card>
        </div>
        <div class="stack">
          <Count said={key ? shown : undefined} saved={saved} problem={counted.problem} busy={counted.busy && key !== null} />
          {may('segment.write') && (
            <Card title={t.audiences.details}>
              <form id="audience" class="stack" onSubmit={save}>
                <Field label={t.audiences.name}>
                  <input class="input" name="name" required value={saved?.name} />
                </Field>
                <Field label={t.audiences.purpose} why={t.audiences.purposeWhy}>
                  <input class="input" name="purpose" value={saved?.purpose} />
                </Field>
                <Field label={t.audiences.ownerMarketing}>
                  <input class="input" name="marketing" value={saved?.owners.marketing} />
                </Field>
                <Field label={t.audiences.ownerIt}>
                  <input class="input" name="it" value={saved?.owners.it} />
                </Field>
              </form>
            </Card>
          )}
          {saved && <History id={saved.id} />}
        </div>
      </div>
    </>
  );
}

async function exportCsv(saved: Segment): Promise<void> {
  try {
    const response = await send('GET', `/api/v1/segments/${saved.id}/export?format=csv`);
    saveAs(`${saved.name}.csv`, 'text/csv', await response.text());
  } catch (error) {
    failed(error);
  }
}

function removeSoon(saved: Segment): void {
  soon(`segment ${saved.id}`, t.audiences.removed(saved.name), () => removeSegment(saved.id));
  go(href('audiences'));
}
