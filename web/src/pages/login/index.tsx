/* Signing in: login and password where the server has accounts, else the administrator's token. */
import { useState } from 'preact/hooks';
import { signIn, signInByToken } from '../../api/session';
import { t } from '../../texts';
import './login.css';

export function Login({ accounts }: { accounts: boolean }) {
  const [byToken, setByToken] = useState(!accounts);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const said = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setProblem(byToken ? await signInByToken(String(said.get('token')).trim()) : await signIn(String(said.get('login')), String(said.get('password'))));
    setBusy(false);
  };
  return (
    <main class="login">
      <form class="card" onSubmit={(event) => void submit(event)}>
        <div class="body stack">
          <img src="/icon.svg" alt="" width="48" height="48" />
          <h1>{t.common.product}</h1>
          <p class="muted">{t.login.lead}</p>
          {byToken ? (
            <label class="field">
              <span>{t.login.token}</span>
              <input class="input" name="token" type="password" autocomplete="current-password" required autofocus />
              <small>{t.login.tokenWhy}</small>
            </label>
          ) : (
            <>
              <label class="field">
                <span>{t.login.name}</span>
                <input class="input" name="login" autocomplete="username" required autofocus />
              </label>
              <label class="field">
                <span>{t.login.password}</span>
                <input class="input" name="password" type="password" autocomplete="current-password" required />
              </label>
            </>
          )}
          {problem && (
            <p class="failure" role="alert">
              {problem}
            </p>
          )}
          <button class="button primary" disabled={busy}>
            {t.login.enter}
          </button>
          {accounts && (
            <button class="button plain" type="button" onClick={() => setByToken(!byToken)}>
              {byToken ? t.login.byPassword : t.login.byToken}
            </button>
          )}
        </div>
      </form>
    </main>
  );
}
