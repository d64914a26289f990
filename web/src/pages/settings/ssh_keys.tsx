import { useState } from 'preact/hooks';
import { api } from '../../api/client';
import { useWork } from '../../ui/act';
import { confirm } from '../../ui/dialog';
import { ErrorBox } from '../../ui/error';
import { Field } from '../../ui/field';
import { useRemote } from '../../ui/remote';

interface Key {
  id: string;
  name: string;
  type: string;
  fingerprint: string;
}

export function SshKeys() {
  const { value, error, load } = useRemote<Key[]>('/auth/ssh-keys');
  const [key, setKey] = useState('');
  const work = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    void work.run(async () => {
      await api('POST', '/auth/ssh-keys', { key: key.trim() });
      setKey('');
      await load();
    });
  };
  const remove = (k: Key) => confirm({
    title: `Remove the key ${k.name}?`, body: <p>Machines that are made from now on do not have it. Those that have it keep it.</p>, yes: 'Remove', danger: true,
    work: async () => { await api('DELETE', `/auth/ssh-keys/${k.id}`); await load(); },
  });
  return (
    <section class="card" aria-labelledby="ssh-keys">
      <h2 id="ssh-keys">SSH keys</h2>
      <p class="help">A machine that you make has those that are here then.</p>
      {error && <ErrorBox error={error} retry={load} />}
      {value && value.length > 0 && (
        <ul class="list">
          {value.map((k) => (
            <li key={k.id}>
              <div><strong>{k.name || 'no name'}</strong><small>{k.type} <code>{k.fingerprint}</code></small></div>
              <button type="button" class="danger-quiet" onClick={() => remove(k)} aria-label={`Remove the key ${k.name}`}>Remove</button>
            </li>
          ))}
        </ul>
      )}
      <form onSubmit={submit}>
        <Field label="A new key" name="key" error={work.error} help="The line of ~/.ssh/id_ed25519.pub. Ed25519, or RSA of 4096 bits and more.">
          {(a) => <textarea {...a} rows={2} required spellcheck={false} class="mono" value={key} onInput={(e) => setKey(e.currentTarget.value)} />}
        </Field>
        {work.error && work.error.field !== 'key' && <ErrorBox error={work.error} />}
        <button type="submit" aria-disabled={work.busy}>Add</button>
      </form>
    </section>
  );
}
