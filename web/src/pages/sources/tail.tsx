/* The live tail: events as they arrive, with what becomes of each. The filter is in the address. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { Problem } from '../../api/client';
import { FATES, sources, type TailEvent } from '../../api/sources';
import { may } from '../../api/session';
import { listen } from '../../api/stream';
import { clock } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { Badge, Card, Empty, Failure } from '../../ui/parts';
import { FateBadge } from './fates';

const MOST_SHOWN = 300;
const AGAIN_MS = 2000;

interface Line extends TailEvent {
  key: number;
}

/* Lines of the stream under `path`, the newest first. While paused they are held back. */
function useTail(path: string, paused: boolean) {
  const [lines, setLines] = useState<Line[]>([]);
  const [held, setHeld] = useState(0);
  const [lost, setLost] = useState(0);
  const [problem, setProblem] = useState<Problem>();
  const waiting = useRef<Line[]>([]);
  const stopped = useRef(paused);
  stopped.current = paused;
  useEffect(() => {
    const stop = new AbortController();
    let keys = 0;
    let timer: ReturnType<typeof setTimeout>;
    waiting.current = [];
    setLines([]);
    setLost(0);
    const open = () =>
      listen(path, stop.signal, (message) => {
        const said = JSON.parse(message.data) as TailEvent & { lost?: number };
        if (message.event === 'lost') setLost((n) => n + (said.lost ?? 0));
        else waiting.current.unshift({ ...said, key: ++keys });
        waiting.current.length = Math.min(waiting.current.length, MOST_SHOWN);
      })
        .catch((error: unknown) => !stop.signal.aborted && setProblem(error instanceof Problem ? error : new Problem(0, 'ended', t.sources.tail.ended)))
        .finally(() => {
          if (!stop.signal.aborted) timer = setTimeout(open, AGAIN_MS);
        });
    void open();
    const shown = setInterval(() => {
      setHeld(stopped.current ? waiting.current.length : 0);
      if (stopped.current || !waiting.current.length) return;
      const fresh = waiting.current;
      waiting.current = [];
      setProblem(undefined);
      setLines((was) => [...fresh, ...was].slice(0, MOST_SHOWN));
    }, 200);
    return () => {
      stop.abort();
      clearTimeout(timer);
      clearInterval(shown);
    };
  }, [path]);
  return { lines, held, lost, problem, clear: () => setLines([]) };
}

function Entry({ line }: { line: Line }) {
  const who = line.user ?? line.anonymous;
  return (
    <details class="tail-line opens">
      <summary>
        <time class="muted">{clock(line.at)}</time>
        <FateBadge fate={line.fate} />
        <strong>{line.name ?? line.type}</strong>
        <span class="muted">{line.source}</span>
        {who && <code class="clip">{who}</code>}
        {line.reason && <span class="tail-reason">{line.reason}</span>}
      </summary>
      <div class="stack">
        {line.details?.map((reason) => (
          <p key={reason.message}>
            <Badge tone="warn">{reason.code}</Badge> {reason.message}
          </p>
        ))}
        {who && line.fate === 'accepted' && (
          <p>
            <a href={href('customers', [line.user ? `user_id=${line.user}` : `anonymous_id=${line.anonymous}`])}>{who}</a>
          </p>
        )}
        <pre class="code wrap">{JSON.stringify(line.json, null, 2)}</pre>
      </div>
    </details>
  );
}

export function Tail({ place }: { place: Place }) {
  const [paused, pause] = useState(false);
  const known = useAsk(may('source.admin') ? 'sources' : null, sources);
  const chosen = { source: place.query.get('source') ?? '', fate: place.query.get('fate') ?? '', event: place.query.get('event') ?? '', user: place.query.get('user') ?? '' };
  const query = new URLSearchParams({ history: '100' });
  for (const name of ['fate', 'event', 'user'] as const) if (chosen[name]) query.set(name, chosen[name]);
  const base = chosen.source ? `/api/v1/sources/${encodeURIComponent(chosen.source)}/tail` : '/api/v1/tail';
  const tail = useTail(`${base}?${query}`, paused);
  const set = (name: keyof typeof chosen, value: string) => go(href('sources', ['tail'], { ...chosen, [name]: value }), 'replace');
  return (
    <Card
      title={t.sources.tail.title}
      note={t.sources.tail.note}
      actions={
        <>
          <Badge tone={paused ? 'warn' : 'good'}>{paused ? t.sources.tail.paused : t.sources.tail.listening}</Badge>
          <button type="button" class="button small" onClick={() => pause(!paused)}>
            <Icon name={paused ? 'play' : 'pause'} size={16} />
            {paused ? t.sources.tail.resume : t.sources.tail.pause}
          </button>
          <button type="button" class="button small" onClick={tail.clear}>
            {t.sources.tail.clear}
          </button>
        </>
      }
    >
      <div class="stack">
        <div class="filters">
          <select class="input" aria-label={t.sources.source} value={chosen.source} onChange={(event) => set('source', event.currentTarget.value)}>
            <option value="">{t.sources.tail.all}</option>
            {known.data?.map((source) => <option key={source.id}>{source.name}</option>)}
          </select>
          <select class="input" aria-label={t.sources.tail.fate} value={chosen.fate} onChange={(event) => set('fate', event.currentTarget.value)}>
            <option value="">{t.sources.tail.anyFate}</option>
            {FATES.map((fate) => (
              <option key={fate} value={fate}>
                {t.sources.fates[fate]}
              </option>
            ))}
          </select>
          <input class="input" aria-label={t.sources.tail.event} placeholder={t.sources.tail.event} value={chosen.event} onChange={(event) => set('event', event.currentTarget.value)} />
          <input class="input" aria-label={t.sources.tail.user} placeholder={t.sources.tail.user} value={chosen.user} onChange={(event) => set('user', event.currentTarget.value)} />
        </div>
        {tail.problem && <Failure problem={tail.problem} />}
        {tail.lost > 0 && <p class="notice">{t.sources.tail.lost(tail.lost)}</p>}
        {paused && tail.held > 0 && <p class="notice">{t.sources.tail.held(tail.held)}</p>}
        {tail.lines.length === 0 && !tail.problem && (
          <Empty icon="sources" title={t.sources.tail.emptyTitle}>
            <p>{t.sources.tail.emptyWhy}</p>
          </Empty>
        )}
        <div class="tail">
          {tail.lines.map((line) => (
            <Entry key={line.key} line={line} />
          ))}
        </div>
      </div>
    </Card>
  );
}
