/* Sources: made, switched off and on, given a new key; and a snippet for each SDK. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { addSource, rotateKey, sources, switchSource, type Source } from '../../api/sources';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Copy } from '../../ui/copy';
import { Dialog } from '../../ui/dialog';
import { Field, said } from '../../ui/form';
import { Icon } from '../../ui/icons';
import { Badge, Card, Failure, WaitingCard } from '../../ui/parts';
import { Table } from '../../ui/table';
import { failed, say } from '../../ui/toast';
import { SNIPPETS } from './snippets';


function Adding({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const field = said(event);
    addSource(field('name'), field('origins'))
      .then((source) => {
        say(t.setup.added(source.name));
        onDone();
      })
      .catch(failed);
  };
  return (
    <Dialog title={t.setup.addTitle} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field label={t.setup.name} why={t.setup.nameWhy}>
          <input class="input" name="name" required autofocus />
        </Field>
        <Field label={t.setup.origins} why={t.setup.originsWhy}>
          <input class="input" name="origins" />
        </Field>
        <div class="row">
          <button class="button primary">{t.setup.add}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Rotating({ source, onClose, onDone }: { source: Source; onClose: () => void; onDone: () => void }) {
  const rotate = () =>
    rotateKey(source.name)
      .then(() => {
        say(t.setup.rotated(source.name));
        onDone();
      })
      .catch(failed);
  return (
    <Dialog
      title={t.setup.rotateTitle(source.name)}
      onClose={onClose}
      footer={
        <>
          <button type="button" class="button" onClick={onClose}>
            {t.common.cancel}
          </button>
          <button type="button" class="button primary" onClick={() => void rotate()}>
            {t.setup.rotate}
          </button>
        </>
      }
    >
      <p>{t.setup.rotateText}</p>
    </Dialog>
  );
}

/* A real event through the collector, as any client would send it. */
async function test(source: Source): Promise<void> {
  const response = await fetch('/v1/track', {
    method: 'POST',
    credentials: 'omit',
    headers: { Authorization: `Basic ${btoa(`${source.write_key}:`)}` },
    body: JSON.stringify({ event: 'Keel Test', anonymousId: 'keel-test', messageId: `keel-test-${Date.now()}`, properties: { from: 'set-up' } }),
  }).catch(() => null);
  if (response?.ok) return say(t.setup.tested);
  const said = (await response?.json().catch(() => null)) as { message?: string } | null;
  say(said?.message ?? `${response?.status ?? ''}`, { bad: true });
}

function Snippets({ list }: { list: Source[] }) {
  const [chosen, choose] = useState(list[0]?.name ?? '');
  const [sdk, setSdk] = useState(SNIPPETS[0]?.key ?? '');
  const source = list.find((one) => one.name === chosen) ?? list[0];
  const snippet = SNIPPETS.find((one) => one.key === sdk);
  if (!source || !snippet) return null;
  const text = snippet.text(location.origin, source.write_key ?? '');
  return (
    <Card title={t.setup.snippets} note={t.setup.snippetsNote}>
      <div class="stack">
        <div class="row">
          <div class="row" role="group" aria-label={t.setup.snippets}>
            {SNIPPETS.map((one) => (
              <button key={one.key} type="button" class={one.key === sdk ? 'button small primary' : 'button small'} aria-pressed={one.key === sdk} onClick={() => setSdk(one.key)}>
                {one.name}
              </button>
            ))}
          </div>
          <label class="row">
            <span class="muted">{t.setup.source}</span>
            <select class="input" value={source.name} onChange={(event) => choose(event.currentTarget.value)}>
              {list.map((one) => (
                <option key={one.id}>{one.name}</option>
              ))}
            </select>
          </label>
        </div>
        <div class="snippet">
          <pre class="code" tabIndex={0}>
            {text}
          </pre>
          <Copy text={text} />
        </div>
        <div class="row">
          <button type="button" class="button" onClick={() => void test(source)}>
            {t.setup.test}
          </button>
          <a class="button plain" href={href('sources', ['tail'], { source: source.name })}>
            {t.setup.watch}
          </a>
        </div>
      </div>
    </Card>
  );
}

export function SourcesCard({ place }: { place: Place }) {
  const asked = useAsk('sources', sources);
  const adding = place.query.has('new');
  const add = (open: boolean) => go(href('setup', [], { new: open ? 'source' : '' }), 'replace');
  const [rotating, rotate] = useState<Source>();
  const turn = (source: Source, on: boolean) => {
    switchSource(source.name, on)
      .then(() => {
        say(on ? t.setup.switchedOn(source.name) : t.setup.switchedOff(source.name), { undo: () => turn(source, !on) });
        asked.again();
      })
      .catch(failed);
  };
  if (asked.problem) return <Failure problem={asked.problem} again={asked.again} />;
  if (!asked.data) return <WaitingCard />;
  const done = () => {
    if (adding) add(false);
    rotate(undefined);
    asked.again();
  };
  return (
    <>
      <Card
        title={t.setup.sources}
        note={t.setup.sourcesNote}
        flush
        actions={
          <button type="button" class="button small primary" onClick={() => add(true)}>
            <Icon name="plus" size={16} />
            {t.setup.add}
          </button>
        }
      >
        <Table
          caption={t.setup.sources}
          rows={asked.data}
          rowKey={(source) => source.id}
          columns={[
            {
              title: t.setup.name,
              cell: (source) => (
                <span class="row">
                  <strong>{source.name}</strong>
                  {source.state === 'off' && <Badge tone="bad">{t.sources.off}</Badge>}
                  {source.strict && <Badge>{t.sources.strict}</Badge>}
                </span>
              ),
            },
            {
              title: t.setup.key,
              cell: (source) => (
                <span class="key">
                  <code>{source.write_key}</code>
                  <Copy text={source.write_key ?? ''} />
                </span>
              ),
            },
            {
              title: '',
              cell: (source) => (
                <span class="row acts-row">
                  <button type="button" class="button small" onClick={() => rotate(source)}>
                    {t.setup.rotate}
                  </button>
                  <button type="button" class="button small" onClick={() => turn(source, source.state === 'off')}>
                    {source.state === 'off' ? t.setup.on : t.setup.off}
                  </button>
                </span>
              ),
            },
          ]}
        />
      </Card>
      <Snippets list={asked.data} />
      {adding && <Adding onClose={() => add(false)} onDone={done} />}
      {rotating && <Rotating source={rotating} onClose={() => rotate(undefined)} onDone={done} />}
    </>
  );
}
