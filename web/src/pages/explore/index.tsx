/* Explore: the question at the left, its picture at the right, the canonical question and its cost
 * below. The question is in the address, so going back is undo and the link is the share: as its text
 * (q), as the number of a saved one (saved), or both while a saved one is changed; with the moment as of
 * which it is asked (at), if that is not now. */
import { useEffect, useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { loadSchema } from '../../api/company';
import { ask, parse, type Answer, type QueryJson } from '../../api/query';
import { questions } from '../../api/questions';
import { may } from '../../api/session';
import { asCsv } from '../../csv';
import { ago } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Copy, copy, saveAs } from '../../ui/copy';
import { Icon } from '../../ui/icons';
import { Card, Empty, Failure, Notes, PageHead, Waiting } from '../../ui/parts';
import { Editor } from './editor';
import { failed, say } from '../../ui/toast';
import './explore.css';
import { forgetPast, past, recall, remember } from './history';
import { examples } from './language';
import { AnswerTable, hasPicture, Picture } from './pictures';
import { keep, linkTo, ofWhom, removeSoon, SavedForm, SavedList } from './saved';

interface Told {
  answer: Answer;
  json: QueryJson;
}

async function tell(question: string, moment: string | undefined, signal: AbortSignal): Promise<Told> {
  const [answer, both] = await Promise.all([ask(question, signal, moment), parse(question, signal)]);
  remember(answer.query);
  return { answer, json: both.json };
}

const to = (question: string): string => href('explore', [], { q: question });

function Starts({ question }: { question: string }) {
  const schema = useAsk('schema', loadSchema);
  const [before, setBefore] = useState(past());
  useEffect(() => setBefore(past()), [question]);
  return (
    <>
      <Card title={t.explore.starts} flush>
        {!schema.data && <Waiting lines={5} />}
        <nav class="starts" aria-label={t.explore.starts}>
          {schema.data &&
            examples(schema.data).map((example) => (
              <a key={example.key} href={to(example.text)} aria-current={example.text === question ? 'true' : undefined}>
                {t.explore.examples[example.key]}
                <code class="clip">{example.text}</code>
              </a>
            ))}
        </nav>
      </Card>
      {before.length > 0 && (
        <Card
          title={t.explore.past}
          flush
          actions={
            <button
              type="button"
              class="button small plain"
              onClick={() => {
                const all = forgetPast();
                setBefore([]);
                say(t.explore.forgotten, { undo: () => (recall(all), setBefore(all)) });
              }}
            >
              {t.explore.forget}
            </button>
          }
        >
          <nav class="starts" aria-label={t.explore.past}>
            {before.slice(0, 8).map((text) => (
              <a key={text} href={to(text)} aria-current={text === question ? 'true' : undefined}>
                <code class="clip">{text}</code>
              </a>
            ))}
          </nav>
        </Card>
      )}
    </>
  );
}

function Result({ told, view, turn }: { told: Told; view: string; turn: (view: string | undefined) => void }) {
  const { answer, json } = told;
  const drawn = hasPicture(answer, json.form);
  const table = view === 'table' || !drawn;
  const cost = answer.cost;
  return (
    <>
      <Card
        title={t.explore.forms[json.form as keyof typeof t.explore.forms] ?? json.form}
        actions={
          <>
            {drawn && (
              <button type="button" class="button small" aria-pressed={table} onClick={() => turn(table ? undefined : 'table')}>
                <Icon name={table ? 'explore' : 'table'} size={16} />
                {table ? t.explore.picture : t.explore.table}
              </button>
            )}
            {json.form === 'count' && json['where'] !== undefined && may('segment.write') && (
              <a class="button small" href={href('audiences', ['new'], { q: answer.query })}>
                {t.explore.audience}
              </a>
            )}
            <button type="button" class="button small" onClick={() => saveAs('answer.csv', 'text/csv', asCsv(answer))}>
              {t.explore.csv}
            </button>
            <button type="button" class="button small" onClick={() => void copy(location.href)}>
              <Icon name="link" size={16} />
              {t.explore.link}
            </button>
          </>
        }
        flush={table && answer.rows.length > 0}
      >
        {answer.rows.length === 0 ? (
          <Empty icon="search" title={t.explore.nobody}>
            <p>{t.explore.nobodyWhy}</p>
          </Empty>
        ) : table ? (
          <AnswerTable answer={answer} form={json.form} />
        ) : (
          <Picture answer={answer} json={json} />
        )}
      </Card>
      <Notes of={[...(answer.cut ? [t.explore.cut] : []), ...(answer.notes ?? [])]} />
      <Card title={t.explore.canonical} actions={<Copy text={answer.query} />}>
        <div class="stack">
          <code class="code wrap">{answer.query}</code>
          <p class="cost">{t.explore.cost(cost.rows, cost.bytes, cost.ms, cost.cpu_ms)}</p>
        </div>
      </Card>
    </>
  );
}

export default function Explore({ place }: { place: Place }) {
  const all = useAsk('questions', questions);
  const id = Number(place.query.get('saved')) || null;
  const saved = all.data?.find((one) => one.id === id);
  const question = place.query.get('q') ?? saved?.query ?? '';
  const [typed, setTyped] = useState(question);
  const [form, showForm] = useState<'new' | 'details' | null>(null);
  const schema = useAsk('schema', loadSchema);
  const asOf = place.query.get('at') || undefined;
  const result = useAsk(question ? `${asOf ?? ''} ${question}` : null, (signal) => tell(question, asOf, signal));
  useEffect(() => setTyped(question), [question]);
  const draft = typed.trim();
  const same = saved && (draft === saved.query || (draft === question && result.data?.answer.query === saved.query));
  const at = (text: string, view?: string): string => href('explore', [], { q: text === saved?.query ? undefined : text, saved: saved && String(saved.id), view, at: asOf });
  const submit = () => {
    if (draft === question) result.again();
    else if (draft) go(at(draft));
  };
  const save = () => {
    if (!may('question.write') || !draft || same) return;
    if (!saved) return showForm('new');
    keep(saved, draft, all.again)
      .then(() => go(linkTo(saved.id), 'replace'))
      .catch(failed);
  };
  return (
    <>
      <PageHead
        title={saved?.name ?? t.explore.title}
        lead={saved ? [saved.description, ofWhom(saved), t.explore.saved.changed(saved.changed_by, ago(saved.changed_at))].filter(Boolean).join(' · ') : t.explore.lead}
        {...(saved ? { back: { href: '/explore', text: t.explore.title } } : {})}
      >
        {may('question.write') && saved && (
          <>
            <button type="button" class="button plain danger" onClick={() => removeSoon(saved, all.again)}>
              {t.explore.saved.remove}
            </button>
            <button type="button" class="button" onClick={() => showForm('details')}>
              {t.explore.saved.details}
            </button>
            {!same && draft && (
              <button type="button" class="button primary" onClick={save}>
                {t.explore.saved.keep}
              </button>
            )}
          </>
        )}
        {may('question.write') && !saved && question && (
          <button type="button" class="button" onClick={save}>
            <Icon name="plus" size={16} />
            {t.explore.saved.save}
          </button>
        )}
      </PageHead>
      {id !== null && all.data && !saved && <p class="notice">{t.explore.saved.gone}</p>}
      {form && <SavedForm was={form === 'details' && saved ? saved : null} query={draft} onClose={() => showForm(null)} changed={all.again} />}
      <div class="explore">
        <div class="stack no-print">
          <Card title={t.explore.question}>
            <div class="stack">
              <Editor value={typed} schema={schema.data} onChange={setTyped} onAsk={submit} onSave={save} />
              <div class="row">
                <button type="button" class="button primary" onClick={submit} disabled={!typed.trim()}>
                  {result.busy && question ? t.explore.asking : t.explore.ask}
                </button>
                <kbd>Ctrl ⏎</kbd>
                <span style={{ flex: 1 }} />
                <button type="button" class="button plain icon" aria-label={t.explore.undo} title={t.explore.undo} onClick={() => history.back()}>
                  <Icon name="undo" />
                </button>
                <button type="button" class="button plain icon" aria-label={t.explore.redo} title={t.explore.redo} onClick={() => history.forward()}>
                  <Icon name="redo" />
                </button>
              </div>
              <details>
                <summary>{t.explore.language}</summary>
                <dl class="language-rows">
                  {t.explore.languageRows.map(([words, what]) => (
                    <>
                      <dt>
                        <code>{words}</code>
                      </dt>
                      <dd>{what}</dd>
                    </>
                  ))}
                </dl>
              </details>
            </div>
          </Card>
        </div>
        <div class={result.busy && result.data ? 'answer stack busy' : 'answer stack'} aria-live="polite" aria-busy={result.busy}>
          {!question && (
            <Card>
              <Empty icon="explore" title={t.explore.emptyTitle}>
                <p>{t.explore.emptyWhy}</p>
              </Empty>
            </Card>
          )}
          {asOf && question && (
            <p class="notice row">
              {t.explore.asOf(asOf)}
              <button type="button" class="button small" onClick={() => go(href('explore', [], { q: question, saved: saved && String(saved.id) }))}>
                {t.explore.asOfNow}
              </button>
            </p>
          )}
          {result.problem && <Failure problem={result.problem} />}
          {question && result.data && <Result told={result.data} view={place.query.get('view') ?? ''} turn={(view) => go(at(question, view), 'replace')} />}
          {question && !result.data && !result.problem && (
            <Card>
              <Waiting lines={8} />
            </Card>
          )}
        </div>
        <div class="stack no-print">
          <SavedList asked={all} current={id} />
          <Starts question={question} />
        </div>
      </div>
    </>
  );
}
