import { useSignal } from '@preact/signals';
import { addressOf, isSignedOut, send } from '../api/client.js';
import { Problem } from '../api/problem.js';
import { useAnswer } from '../api/use-answer.js';
import { backOf } from '../shell/back.js';
import { Link } from '../shell/link.js';
import { go, params } from '../state/location.js';
import { askWhoWeAre } from '../state/me.js';
import { t } from '../text/text.js';
import { Failed } from '../widgets/panel.js';

interface Ways {
  readonly key: boolean;
  readonly oidc: boolean;
}
/** The ways to sign in that are offered until the server has answered. */
const KEY_ALONE: Ways = { key: true, oidc: false };

/** Asks for a key and trades it for a cookie. The key itself is not kept. */
export function SignIn() {
  const key = useSignal('');
  const problem = useSignal<Problem | null>(null);
  const isAsking = useSignal(false);
  const { loaded } = useAnswer<Ways>('/login', [], 0);
  const ways = loaded.value ?? KEY_ALONE;
  const signIn = async (): Promise<void> => {
    isAsking.value = true;
    problem.value = null;
    try {
      await send('/login', { key: key.value.trim() });
      key.value = '';
      isSignedOut.value = false;
      await askWhoWeAre();
      go(backOf(params.value.get('back')));
    } catch (error) {
      problem.value = Problem.of(error);
    }
    isAsking.value = false;
  };
  return (
    <form
      class="sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        void signIn();
      }}
    >
      <h1>{t.value.signIn.title}</h1>
      {ways.oidc ? (
        <a
          class="button primary"
          href={addressOf('/login/oidc', [['return_to', backOf(params.value.get('back'))]])}
        >
          {t.value.signIn.openId}
        </a>
      ) : null}
      {ways.key ? (
        <>
          <p class="muted">{t.value.signIn.why}</p>
          <label>
            {t.value.signIn.key}
            <input
              type="password"
              required
              autocomplete="current-password"
              spellcheck={false}
              value={key.value}
              onInput={(event) => {
                key.value = event.currentTarget.value;
              }}
            />
          </label>
          {problem.value === null ? null : problem.value.status === 401 ? (
            <p class="failed" role="alert">
              {t.value.signIn.wrong}
            </p>
          ) : (
            <Failed problem={problem.value} />
          )}
          <button type="submit" class="primary" disabled={isAsking.value}>
            {t.value.signIn.go}
          </button>
        </>
      ) : ways.oidc ? null : (
        <>
          <p class="muted">{t.value.signIn.none}</p>
          <Link class="button" href="/">
            {t.value.nav.overview}
          </Link>
        </>
      )}
    </form>
  );
}
