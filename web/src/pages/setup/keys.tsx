/* API keys: one's own; with the right user.admin those of everybody. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { addKey, keys, revokeKey, rights, type Key } from '../../api/guard';
import { may } from '../../api/session';
import { ago, day, moment } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Field, said } from '../../ui/form';
import { Icon } from '../../ui/icons';
import { Badge, Card, Empty, Failure, Waiting } from '../../ui/parts';
import { Secret } from '../../ui/secret';
import { Table } from '../../ui/table';
import { failed, soon, useLeaving } from '../../ui/toast';

const words = t.guard.keys;

function Adding({ onClose, onMade }: { onClose: () => void; onMade: (made: { secret: string; key: Key }) => void }) {
  const asked = useAsk('rights', rights);
  const [scopes, choose] = useState<string[]>([]);
  const [wrong, setWrong] = useState('');
  const make = (event: SubmitEvent) => {
    event.preventDefault();
    const field = said(event);
    setWrong(scopes.length ? '' : words.scopesNone);
    if (scopes.length) addKey({ name: field('name'), scopes, ...(field('expires') ? { expires_at: field('expires') } : {}) }).then(onMade).catch(failed);
  };
  return (
    <Dialog title={words.addTitle} onClose={onClose}>
      <form class="stack" onSubmit={make}>
        <Field label={words.name} why={words.nameWhy}>
          <input class="input" name="name" required autofocus autocomplete="off" />
        </Field>
        <Field label={words.expires}>
          <input class="input" name="expires" type="date" />
        </Field>
        <fieldset class="scopes">
          <legend>{words.scopes}</legend>
          {!asked.data && <Waiting />}
          {asked.data?.rights
            .filter((one) => may(one.right))
            .map((one) => (
              <label key={one.right}>
                <input type="checkbox" checked={scopes.includes(one.right)} onChange={(event) => choose(event.currentTarget.checked ? [...scopes, one.right] : scopes.filter((scope) => scope !== one.right))} />
                <span>
                  {one.allows} <code class="muted">{one.right}</code>
                </span>
              </label>
            ))}
        </fieldset>
        {wrong && (
          <p class="failure" role="alert">
            {wrong}
          </p>
        )}
        <div class="row">
          <button class="button primary">{words.make}</button>
        </div>
      </form>
    </Dialog>
  );
}

export function Keys({ place }: { place: Place }) {
  const asked = useAsk('keys', keys);
  const leaving = useLeaving();
  const adding = place.query.has('new');
  const add = (open: boolean) => go(href('setup', ['keys'], { new: open ? 'key' : '' }), 'replace');
  const [made, show] = useState<{ secret: string; key: Key }>();
  const rows = asked.data?.filter((row) => !leaving.has(`key ${row.id}`));
  const adder = (
    <button type="button" class="button small primary" onClick={() => add(true)}>
      <Icon name="plus" size={16} />
      {words.add}
    </button>
  );
  const when = (at: string | null) => (at ? <span title={moment(at)}>{ago(at)}</span> : <span class="muted">{t.guard.never}</span>);
  return (
    <Card title={words.title} note={words.note} actions={adder} flush={!!rows?.length}>
      {asked.problem && !asked.data && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <Waiting />}
      {rows?.length === 0 && (
        <Empty icon="link" title={words.emptyTitle}>
          <p>{words.emptyWhy}</p>
        </Empty>
      )}
      {!!rows?.length && (
        <Table
          caption={words.title}
          rows={rows}
          rowKey={(row) => row.id}
          columns={[
            { title: words.name, sort: (row) => row.name, cell: (row) => <strong>{row.name}</strong> },
            { title: words.prefix, brief: true, cell: (row) => <code>{row.prefix}…</code> },
            {
              title: words.scopes,
              cell: (row) => (
                <span class="row">
                  {row.scopes.map((scope) => (
                    <Badge key={scope}>{scope}</Badge>
                  ))}
                </span>
              ),
            },
            { title: words.owner, brief: true, sort: (row) => row.user, cell: (row) => row.user ?? <span class="muted">{words.installation}</span> },
            { title: words.used, brief: true, sort: (row) => row.used_at, cell: (row) => when(row.used_at) },
            { title: words.ends, brief: true, sort: (row) => row.expires_at, cell: (row) => (row.expires_at ? day(row.expires_at) : <span class="muted">{t.guard.never}</span>) },
            {
              title: '',
              cell: (row) => (
                <span class="row acts-row">
                  <button type="button" class="button small" onClick={() => soon(`key ${row.id}`, words.revoked(row.name), () => revokeKey(row.id).then(asked.again))}>
                    {words.revoke}
                  </button>
                </span>
              ),
            },
          ]}
        />
      )}
      {adding && (
        <Adding
          onClose={() => add(false)}
          onMade={(key) => {
            add(false);
            show(key);
            asked.again();
          }}
        />
      )}
      {made && <Secret title={words.madeTitle(made.key.name)} text={made.secret} onClose={() => show(undefined)} />}
    </Card>
  );
}
