// Credentials that one's machines are given, so that Claude Code is signed in there. What is kept is never shown again.
import { useState } from 'preact/hooks';
import { api } from '../../api/client';
import { useWork } from '../../ui/act';
import { ErrorBox } from '../../ui/error';
import { Field } from '../../ui/field';
import { useRemote } from '../../ui/remote';
import { toast } from '../../ui/toast';

interface Kept {
  anthropic_api_key: string;
  claude_oauth_token: string;
  auth_method: string;
}

type Name = 'anthropic_api_key' | 'claude_oauth_token';

function Secret({ name, label, help, kept, done }: { name: Name; label: string; help: string; kept: string; done: () => Promise<unknown> }) {
  const [value, setValue] = useState('');
  const { busy, error, run } = useWork();
  const save = (text: string, said: string) => run(async () => {
    await api('PUT', '/auth/settings', { [name]: text });
    setValue('');
    await done();
    toast.say(said);
  });
  return (
    <form class="inline-form" onSubmit={(e) => { e.preventDefault(); void save(value.trim(), 'It is kept, and goes to your machines.'); }}>
      <Field label={label} name={name} error={error} help={kept ? <>There is one: <code>{kept}</code></> : help}>
        {(a) => <input {...a} type="password" autocomplete="off" required value={value} onInput={(e) => setValue(e.currentTarget.value)} />}
      </Field>
      <button type="submit" aria-disabled={busy}>{kept ? 'Replace' : 'Save'}</button>
      {kept && <button type="button" class="danger-quiet" onClick={() => save('', 'It is taken away.')}>Remove</button>}
      {error && error.field !== name && <ErrorBox error={error} />}
    </form>
  );
}

export function Claude() {
  const { value, error, load } = useRemote<Kept>('/auth/settings');
  return (
    <section class="card" aria-labelledby="claude">
      <h2 id="claude">Claude</h2>
      <p class="help">Either is enough. Kept sealed, and given to your machines alone.</p>
      {error && <ErrorBox error={error} retry={load} />}
      {value && <Secret name="claude_oauth_token" label="Subscription token" help="What “claude setup-token” prints on your own computer." kept={value.claude_oauth_token} done={load} />}
      {value && <Secret name="anthropic_api_key" label="API key" help="Begins with sk-ant-." kept={value.anthropic_api_key} done={load} />}
    </section>
  );
}
