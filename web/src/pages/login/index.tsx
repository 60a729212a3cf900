/* Signing in: by login and password, by a one-time link (/login#TOKEN), or with the administrator's
 * token. The first visit of an installation makes the first account (/setup#TOKEN). */
import { useEffect, useState } from 'preact/hooks';
import { setUp, SIDES, signIn, signInByLink, signInByToken } from '../../api/session';
import { go } from '../../router';
import { t } from '../../texts';
import { Choice, Field } from '../../ui/form';
import './login.css';

type Way = 'password' | 'token' | 'first' | 'link';
type Said = (name: string) => string;

const WAYS: Record<Way, (said: Said) => Promise<string | null>> = {
  password: (said) => signIn(said('login'), said('password')),
  token: (said) => signInByToken(said('token').trim()),
  link: () => signInByLink(ticket()),
  first: (said) => setUp({ token: said('link').trim(), login: said('login'), name: said('name') || said('login'), password: said('password'), side: said('side') }),
};

const ticket = (): string => location.hash.slice(1);

function First() {
  const given = ticket();
  const { first } = t.login;
  return (
    <>
      {given ? (
        <input type="hidden" name="link" value={given} />
      ) : (
        <Field label={first.link} why={first.linkWhy}>
          <input class="input" name="link" required autocomplete="off" />
        </Field>
      )}
      <Field label={first.login} why={first.loginWhy}>
        <input class="input" name="login" required autofocus autocomplete="username" />
      </Field>
      <Field label={first.name}>
        <input class="input" name="name" autocomplete="name" />
      </Field>
      <Choice name="side" label={first.side} value="neither" of={SIDES} words={first.sides} />
      <Field label={first.password} why={first.passwordWhy}>
        <input class="input" name="password" type="password" minLength={12} required autocomplete="new-password" />
      </Field>
    </>
  );
}

function Fields({ way }: { way: Way }) {
  if (way === 'first') return <First />;
  if (way === 'link') return <p>{t.login.byLink}</p>;
  if (way === 'token')
    return (
      <Field label={t.login.token} why={t.login.tokenWhy}>
        <input class="input" name="token" type="password" autocomplete="off" required autofocus />
      </Field>
    );
  return (
    <>
      <Field label={t.login.name}>
        <input class="input" name="login" autocomplete="username" required autofocus />
      </Field>
      <Field label={t.login.password}>
        <input class="input" name="password" type="password" autocomplete="current-password" required />
      </Field>
    </>
  );
}

export function Login({ first }: { first: boolean }) {
  const start: Way = first ? 'first' : location.pathname === '/login' && ticket() ? 'link' : 'password';
  const [way, setWay] = useState<Way>(start);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const enter = async (said: Said) => {
    setBusy(true);
    const wrong = await WAYS[way](said);
    setBusy(false);
    setProblem(wrong);
    if (wrong && way === 'link') setWay('password');
    if (!wrong && location.hash) go('/', 'replace'); // the token is used up
  };
  useEffect(() => {
    document.title = t.common.product;
    if (way === 'link') void enter(() => '');
  }, []);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const said = new FormData(event.currentTarget as HTMLFormElement);
    void enter((name) => String(said.get(name) ?? ''));
  };
  const other: Way = way === 'token' ? start : 'token';
  return (
    <main class="login">
      <form class="card" onSubmit={submit}>
        <div class="body stack">
          <img src="/icon.svg" alt="" width="48" height="48" />
          <h1>{way === 'first' ? t.login.first.title : t.common.product}</h1>
          <p class="muted">{way === 'first' ? t.login.first.lead : t.login.lead}</p>
          <Fields way={way} />
          {problem && (
            <p class="failure" role="alert">
              {problem}
            </p>
          )}
          <button class="button primary" disabled={busy}>
            {way === 'first' ? t.login.first.enter : t.login.enter}
          </button>
          <button class="button plain" type="button" onClick={() => setWay(other === 'link' ? 'password' : other)}>
            {other === 'token' ? t.login.byToken : t.login.byPassword}
          </button>
        </div>
      </form>
    </main>
  );
}
