/* Customers: /customers finds them, /customers/ID shows one. */
import { useEffect, useState } from 'preact/hooks';
import { useAsk, useSettled } from '../../api/ask';
import { FOUND_LIMIT, identify, recent, search } from '../../api/customers';
import type { Answer, AnswerColumn, Cell } from '../../api/query';
import { ago, count, NONE } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Icon } from '../../ui/icons';
import { may } from '../../api/session';
import { Card, Empty, Failure, PageHead, WaitingCard } from '../../ui/parts';
import { Table, type Column } from '../../ui/table';
import { Customer } from './customer';
import './customers.css';

function title(column: AnswerColumn): string {
  if (column.name === 'customer') return t.customers.customer;
  if (column.type === 'time') return t.customers.last;
  if (column.name.startsWith('count(')) return t.customers.events;
  return column.name.replace(/^trait /, '');
}

export function People({ answer, caption }: { answer: Answer; caption: string }) {
  const columns = answer.columns.map((column, i): Column<Cell[]> => {
    const number = column.type === 'number' || column.type === 'integer';
    return {
      title: title(column),
      number,
      sort: (row) => row[i] as string | number | null,
      cell: (row) => {
        const value = row[i];
        if (value === null || value === undefined) return <span class="muted">{NONE}</span>;
        if (i === 0) return <a href={href('customers', [String(value)])}>{String(value)}</a>;
        if (column.type === 'time') return <span title={String(value)}>{ago(String(value))}</span>;
        return typeof value === 'number' ? count(value) : String(value);
      },
    };
  });
  return <Table caption={caption} columns={columns} rows={answer.rows} rowKey={(row, i) => `${row[0]}${i}`} onRow={(row) => go(href('customers', [String(row[0])]))} />;
}

const NOBODY: Answer = { query: '', columns: [], rows: [], cost: { rows: 0, blocks: 0, bytes: 0, ms: 0, cpu_ms: 0 } };

type Found = { id: string } | { people: Answer };

async function find(text: string, signal: AbortSignal): Promise<Found> {
  const id = await identify(text, signal);
  if (id) return { id };
  return { people: may('personal.read') ? await search(text, signal) : NOBODY };
}

function Results({ text }: { text: string }) {
  const found = useAsk(`find ${text}`, (signal) => find(text, signal));
  useEffect(() => {
    if (found.data && 'id' in found.data) go(href('customers', [found.data.id]), 'replace');
  }, [found.data]);
  if (found.problem) return <Failure problem={found.problem} again={found.again} />;
  if (!found.data || 'id' in found.data) return <WaitingCard />;
  const { people } = found.data;
  if (!people.rows.length)
    return (
      <Card>
        <Empty icon="customers" title={t.customers.nobody(text)}>
          <p>{may('personal.read') ? t.customers.nobodyWhy : t.customers.onlyWhole}</p>
        </Empty>
      </Card>
    );
  return (
    <Card title={t.customers.found(people.rows.length)} note={people.rows.length === FOUND_LIMIT ? t.customers.cutAt(FOUND_LIMIT) : undefined} flush>
      <People answer={people} caption={t.customers.find} />
    </Card>
  );
}

function Recent() {
  const people = useAsk('recent', recent);
  if (people.problem) return <Failure problem={people.problem} again={people.again} />;
  if (!people.data) return <WaitingCard lines={8} />;
  if (!people.data.rows.length)
    return (
      <Card>
        <Empty icon="customers" title={t.customers.emptyTitle}>
          <p>{t.customers.emptyWhy}</p>
          <a class="button primary" href="/setup">
            {t.customers.emptyLink}
          </a>
        </Empty>
      </Card>
    );
  return (
    <Card title={t.customers.recent} note={t.customers.recentNote} flush>
      <People answer={people.data} caption={t.customers.recent} />
    </Card>
  );
}

/* Lists of single customers are for who may see personal data. */
function Unlisted() {
  return (
    <Card>
      <Empty icon="customers" title={t.customers.unlisted}>
        <p>{t.customers.onlyWhole}</p>
      </Empty>
    </Card>
  );
}

function Finder({ text }: { text: string }) {
  const [typed, setTyped] = useState(text);
  const settled = useSettled(typed, 350).trim();
  useEffect(() => setTyped(text), [text]);
  useEffect(() => {
    if (settled !== text) go(href('customers', [], { find: settled }), 'replace');
  }, [settled]);
  return (
    <>
      <PageHead title={t.customers.title} lead={t.customers.lead} />
      <form class="finder" role="search" onSubmit={(event) => event.preventDefault()}>
        <Icon name="search" />
        <input
          class="input"
          type="search"
          autofocus
          aria-label={t.customers.find}
          placeholder={t.customers.placeholder}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
      </form>
      {text ? <Results key={text} text={text} /> : may('personal.read') ? <Recent /> : <Unlisted />}
    </>
  );
}

export default function Customers({ place }: { place: Place }) {
  const id = place.rest[0];
  return id ? <Customer key={id} id={id} only={place.query.get('only') ?? ''} /> : <Finder text={place.query.get('find') ?? ''} />;
}
