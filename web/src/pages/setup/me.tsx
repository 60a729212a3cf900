/* One's own account: role and what it allows, sessions, password. */
import { useAsk } from '../../api/ask';
import { changePassword, endSession, rights, sessions } from '../../api/guard';
import { may, renewSession, user } from '../../api/session';
import { ago, moment } from '../../format';
import { t } from '../../texts';
import { Field, said } from '../../ui/form';
import { Badge, Card, Failure, Waiting } from '../../ui/parts';
import { Table } from '../../ui/table';
import { failed, say } from '../../ui/toast';

const words = t.guard.me;

function Rights() {
  const me = user();
  const asked = useAsk('rights', rights);
  return (
    <Card title={words.title} note={words.note}>
      <dl class="pairs">
        <dt>{words.role}</dt>
        <dd>{me?.role ? <strong>{t.guard.roles[me.role]}</strong> : words.token}</dd>
        {me?.side && (
          <>
            <dt>{words.side}</dt>
            <dd>{t.guard.sides[me.side]}</dd>
          </>
        )}
        <dt>{words.may}</dt>
        <dd>
          {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
          {!asked.data && !asked.problem && <Waiting />}
          <ul>
            {asked.data?.rights
              .filter((one) => may(one.right))
              .map((one) => <li key={one.right}>{one.allows}</li>)}
          </ul>
        </dd>
      </dl>
    </Card>
  );
}

function Sessions() {
  const asked = useAsk('sessions', sessions);
  const when = (at: string) => <span title={moment(at)}>{ago(at)}</span>;
  const end = (id: number) =>
    void endSession(id)
      .then(() => {
        say(words.ended);
        asked.again();
      })
      .catch(failed);
  return (
    <Card title={words.sessions} flush>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      {!asked.data && !asked.problem && <Waiting />}
      {asked.data && (
        <Table
          caption={words.sessions}
          rows={asked.data}
          rowKey={(row) => row.id}
          columns={[
            { title: words.began, brief: true, cell: (row) => when(row.created_at) },
            { title: words.seen, brief: true, cell: (row) => when(row.seen_at) },
            { title: words.ends, brief: true, cell: (row) => when(row.ends_at) },
            {
              title: '',
              cell: (row) => (
                <span class="row acts-row">
                  {row.current ? (
                    <Badge tone="accent">{words.current}</Badge>
                  ) : (
                    <button type="button" class="button small" onClick={() => end(row.id)}>
                      {words.end}
                    </button>
                  )}
                </span>
              ),
            },
          ]}
        />
      )}
    </Card>
  );
}

/* Who came by a sign-in link may set one without the old one, once. */
function Password() {
  const me = user();
  const byLink = me?.old_password_needed === false;
  const none = me?.has_password === false;
  const change = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const field = said(event);
    changePassword(byLink ? null : field('old'), field('new'))
      .then(() => {
        form.reset();
        say(none ? words.first : words.changed);
        return renewSession();
      })
      .catch(failed);
  };
  return (
    <Card title={none ? words.firstTitle : words.password} note={byLink ? (none ? words.firstNote : words.linkNote) : words.passwordNote}>
      <form class="stack" onSubmit={change}>
        {!byLink && (
          <Field label={words.old}>
            <input class="input" name="old" type="password" required autocomplete="current-password" />
          </Field>
        )}
        <Field label={words.wanted} why={words.wantedWhy}>
          <input class="input" name="new" type="password" required minLength={12} autocomplete="new-password" />
        </Field>
        <div class="row">
          <button class="button primary">{none ? words.firstSet : words.change}</button>
        </div>
      </form>
    </Card>
  );
}

export function Me() {
  const session = user()?.kind === 'session';
  return (
    <div class="split">
      <div class="stack">
        <Rights />
        {session && <Sessions />}
      </div>
      <div class="stack">{session && <Password />}</div>
    </div>
  );
}
