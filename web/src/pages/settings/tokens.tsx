// Tokens with which programs speak for one: what they may, and until when. A new one is shown once.
import { useState } from 'preact/hooks';
import { api } from '../../api/client';
import { me } from '../../state/session';
import { useWork } from '../../ui/act';
import { Copy } from '../../ui/copy';
import { confirm } from '../../ui/dialog';
import { ErrorBox } from '../../ui/error';
import { Field } from '../../ui/field';
import { exactly } from '../../ui/format';
import { useRemote } from '../../ui/remote';
import { Ago } from '../../ui/time';
import { VirtualList } from '../../ui/virtual_list';

interface Token {
  id: string;
  name: string;
  scopes: string[];
  instance: string | null;
  expires_at: string;
  last_used_at: string | null;
  token?: string;
}

const scopes: [string, string][] = [
  ['instances:read', 'see machines'], ['instances:write', 'make, change and delete machines'], ['instances:connect', 'terminals and commands'],
  ['account:read', 'see your account'], ['account:write', 'change your account'], ['billing', 'plans, usage and payment'],
  ['networks:read', 'see networks'], ['networks:write', 'change networks'],
  ['webhooks:read', 'see webhooks'], ['webhooks:write', 'change webhooks, which are told all events'],
];

const ofAdmins: [string, string][] = [['operator', 'what only an admin may do'], ['metrics', 'figures of the whole server']];

function Scopes({ chosen, set }: { chosen: string[]; set: (next: string[]) => void }) {
  const all: [string, string][] = me.value?.role === 'admin' ? [...scopes, ...ofAdmins] : scopes;
  return (
    <fieldset class="checks">
      <legend>It may</legend>
      {all.map(([name, text]) => (
        <label key={name}>
          <input type="checkbox" checked={chosen.includes(name)} onChange={(e) => set(e.currentTarget.checked ? [...chosen, name] : chosen.filter((s) => s !== name))} />
          {text}
        </label>
      ))}
    </fieldset>
  );
}

function NewToken({ made }: { made: (t: Token) => void }) {
  const [name, setName] = useState('');
  const [days, setDays] = useState(90);
  const [chosen, setChosen] = useState(['instances:read']);
  const { busy, error, run } = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => {
      made(await api<Token>('POST', '/auth/tokens', { name, scopes: chosen, days }));
      setName('');
    });
  };
  return (
    <form onSubmit={submit}>
      <div class="two">
        <Field label="Name" name="name" error={error}>{(a) => <input {...a} required value={name} placeholder="what it is for" onInput={(e) => setName(e.currentTarget.value)} />}</Field>
        <Field label="Days" name="days" error={error}>{(a) => <input {...a} type="number" required min={1} max={365} value={days} onInput={(e) => setDays(Number(e.currentTarget.value))} />}</Field>
      </div>
      <Scopes chosen={chosen} set={setChosen} />
      {error && !['name', 'days'].includes(error.field ?? '') && <ErrorBox error={error} />}
      <button type="submit" aria-disabled={busy || !chosen.length}>Make a token</button>
    </form>
  );
}

export function Tokens() {
  const { value, error, load } = useRemote<Token[]>('/auth/tokens');
  const [fresh, setFresh] = useState<Token | null>(null);
  const revoke = (t: Token) => confirm({
    title: `Revoke ${t.name}?`, body: <p>What uses it is cut off within a second.</p>, yes: 'Revoke', danger: true,
    work: async () => {
      await api('DELETE', `/auth/tokens/${t.id}`);
      if (fresh?.id === t.id) setFresh(null);
      await load();
    },
  });
  return (
    <section class="card" aria-labelledby="tokens">
      <h2 id="tokens">API tokens</h2>
      {error && <ErrorBox error={error} retry={load} />}
      {fresh?.token && <div class="fresh" role="status"><p>The new token, shown this once:</p><Copy text={fresh.token} what="the new token" /></div>}
      {value && value.length > 0 && (
        <VirtualList items={value} label="API tokens" rowHeight={60} keyOf={(t) => t.id} row={(t) => (
          <div class="line">
            <div><strong>{t.name || t.id}</strong><small>{t.scopes.join(', ')}</small></div>
            <small>until {exactly(t.expires_at)}{t.last_used_at && <>, used <Ago at={t.last_used_at} /></>}</small>
            <button type="button" class="danger-quiet" onClick={() => revoke(t)} aria-label={`Revoke ${t.name}`}>Revoke</button>
          </div>
        )} />
      )}
      <NewToken made={(t) => { setFresh(t); void load(); }} />
    </section>
  );
}
