// Signing in by a link that is mailed; in development, on this host, at once.
import { useEffect, useRef, useState } from 'preact/hooks';
import { api } from '../api/client';
import { ended, refresh } from '../state/session';
import { useWork } from '../ui/act';
import { ErrorBox } from '../ui/error';
import { Field } from '../ui/field';

function Sent({ email, again }: { email: string; again: () => void }) {
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus(), []);
  return (
    <section class="narrow">
      <h1 ref={title} tabIndex={-1}>Check your email</h1>
      <p>If <strong>{email}</strong> can sign in here, a link is on its way. It is good once, and for some minutes. This page can be closed.</p>
      <p class="help">Nothing there? Look into the spam folder, or make sure that the address is spelled right.</p>
      <p><button type="button" onClick={again}>Use another address</button></p>
    </section>
  );
}

export default function Login() {
  const [email, setEmail] = useState('');
  const [sent, setSent] = useState(false);
  const { busy, error, run } = useWork();
  if (sent) return <Sent email={email} again={() => setSent(false)} />;
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => {
      const { token } = await api<{ token?: string }>('POST', '/auth/login', { email });
      if (token) await refresh(); else setSent(true);
    });
  };
  return (
    <section class="narrow">
      <h1>Sign in</h1>
      {ended.value && <p class="said-so" role="status">Your session has ended. Sign in again, and you are back where you were.</p>}
      <p>We mail you a link that signs you in; there is no password.</p>
      <form onSubmit={submit}>
        <Field label="Email address" name="email" error={error}>
          {(a) => <input {...a} type="email" name="email" autocomplete="email" required maxLength={320} value={email} onInput={(e) => setEmail(e.currentTarget.value)} />}
        </Field>
        {error && error.field !== 'email' && <ErrorBox error={error} />}
        <button type="submit" class="primary" aria-disabled={busy}>{busy ? 'Sending…' : 'Send me a link'}</button>
      </form>
    </section>
  );
}
