/* Accounts: who signs in, with which role and side. Right user.admin. */
import { useState } from 'preact/hooks';
import { useAsk } from '../../api/ask';
import { accounts, addAccount, changeAccount, loginLink, type Account } from '../../api/guard';
import { ROLES, SIDES, user, type Role, type Side } from '../../api/session';
import { ago, moment } from '../../format';
import { go, href, type Place } from '../../router';
import { t } from '../../texts';
import { Dialog } from '../../ui/dialog';
import { Choice, Field, said } from '../../ui/form';
import { Icon } from '../../ui/icons';
import { Badge, Card, Failure, WaitingCard } from '../../ui/parts';
import { Secret } from '../../ui/secret';
import { Table } from '../../ui/table';
import { failed, say } from '../../ui/toast';

const words = t.guard.accounts;

/* A new account, or an account as it is. */
function Editing({ account, onClose, onDone }: { account?: Account | undefined; onClose: () => void; onDone: () => void }) {
  const [role, setRole] = useState<Role>(account?.role ?? 'marketing');
  const save = (event: SubmitEvent) => {
    event.preventDefault();
    const field = said(event);
    const password = field('password');
    const to = { name: field('name') || field('login'), role, side: field('side') as Side, ...(password ? { password } : {}) };
    (account ? changeAccount(account.login, to) : addAccount({ login: field('login'), ...to }))
      .then((now) => {
        say(words.saved(now.login));
        onDone();
      })
      .catch(failed);
  };
  return (
    <Dialog title={account ? words.editTitle(account.login) : words.add} onClose={onClose}>
      <form class="stack" onSubmit={save}>
        {!account && (
          <Field label={words.login} why={words.loginWhy}>
            <input class="input" name="login" required autofocus autocomplete="off" />
          </Field>
        )}
        <Field label={words.name}>
          <input class="input" name="name" defaultValue={account?.name ?? ''} autofocus={!!account} autocomplete="off" />
        </Field>
        <Field label={words.role} why={t.guard.rolesWhy[role]}>
          <select class="input" name="role" value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
            {ROLES.map((one) => (
              <option key={one} value={one}>
                {t.guard.roles[one]}
              </option>
            ))}
          </select>
        </Field>
        <Choice name="side" label={words.side} value={account?.side ?? 'neither'} of={SIDES} words={t.guard.sides} />
        <Field label={words.password} why={account ? words.passwordWhy : words.passwordNew}>
          <input class="input" name="password" type="password" minLength={12} autocomplete="new-password" />
        </Field>
        <div class="row">
          <button class="button primary">{account ? t.common.save : words.make}</button>
        </div>
      </form>
    </Dialog>
  );
}

export function Accounts({ place }: { place: Place }) {
  const asked = useAsk('accounts', accounts);
  const [editing, edit] = useState<Account>();
  const adding = place.query.has('new');
  const close = () => (editing ? edit(undefined) : go(href('setup', ['accounts']), 'replace'));
  const [link, show] = useState<{ login: string; url: string; seconds: number }>();
  const make = (login: string) => loginLink(login).then((made) => show({ login, ...made })).catch(failed);
  const turn = (login: string, disabled: boolean) =>
    void changeAccount(login, { disabled })
      .then(() => {
        say(disabled ? words.disabled(login) : words.enabled(login), { undo: () => turn(login, !disabled) });
        asked.again();
      })
      .catch(failed);
  if (asked.problem && !asked.data) return <Failure problem={asked.problem} again={asked.again} />;
  if (!asked.data) return <WaitingCard lines={6} />;
  return (
    <Card
      title={words.title}
      note={words.note}
      flush
      actions={
        <button type="button" class="button small primary" onClick={() => go(href('setup', ['accounts'], { new: 'account' }), 'replace')}>
          <Icon name="plus" size={16} />
          {words.add}
        </button>
      }
    >
      <Table
        caption={words.title}
        rows={asked.data}
        rowKey={(row) => row.login}
        columns={[
          {
            title: words.who,
            sort: (row) => row.name,
            cell: (row) => (
              <span class="two">
                <span class="row">
                  <strong>{row.name}</strong>
                  {row.login === user()?.user && <Badge tone="accent">{words.you}</Badge>}
                  {row.disabled && <Badge tone="bad">{words.off}</Badge>}
                </span>
                {row.name !== row.login && <small class="muted">{row.login}</small>}
              </span>
            ),
          },
          { title: words.role, brief: true, sort: (row) => row.role, cell: (row) => <span title={t.guard.rolesWhy[row.role]}>{t.guard.roles[row.role]}</span> },
          { title: words.side, brief: true, sort: (row) => row.side, cell: (row) => <span class={row.side === 'neither' ? 'muted' : ''}>{t.guard.sides[row.side]}</span> },
          {
            title: words.signedIn,
            brief: true,
            sort: (row) => row.signed_in_at,
            cell: (row) => (row.signed_in_at ? <span title={moment(row.signed_in_at)}>{ago(row.signed_in_at)}</span> : <span class="muted">{t.guard.never}</span>),
          },
          {
            title: '',
            cell: (row) => (
              <span class="row acts-row">
                <button type="button" class="button small" onClick={() => edit(row)}>
                  {words.edit}
                </button>
                {!row.disabled && (
                  <button type="button" class="button small" onClick={() => void make(row.login)}>
                    {words.link}
                  </button>
                )}
                {row.login !== user()?.user && (
                  <button type="button" class="button small" onClick={() => turn(row.login, !row.disabled)}>
                    {row.disabled ? words.enable : words.disable}
                  </button>
                )}
              </span>
            ),
          },
        ]}
      />
      {(editing || adding) && (
        <Editing
          account={editing}
          onClose={close}
          onDone={() => {
            close();
            asked.again();
          }}
        />
      )}
      {link && (
        <Secret title={words.linkTitle(link.login)} text={link.url} onClose={() => show(undefined)}>
          <p class="muted">{words.linkWhy(link.seconds / 60)}</p>
        </Secret>
      )}
    </Card>
  );
}
