// Where events are sent: a URL of one's own, signed with a secret that is shown once. What became of it is told beneath each.
import { useState } from 'preact/hooks';
import { api } from '../../api/client';
import { useWork } from '../../ui/act';
import { Copy } from '../../ui/copy';
import { confirm } from '../../ui/dialog';
import { ErrorBox } from '../../ui/error';
import { Field } from '../../ui/field';
import { useRemote } from '../../ui/remote';
import { Ago } from '../../ui/time';

interface Webhook {
  id: string;
  url: string;
  events: string[];
  enabled: boolean;
  disabled_reason: string | null;
  waiting: { attempts: number; next_at: string; error: string } | null;
  secret?: string;
}

interface Delivery {
  number: number;
  kind: string;
  type: string;
  at: string;
  ok: boolean;
  status: number | null;
  ms: number;
  error: string | null;
}

function standing(h: Webhook): string {
  if (!h.enabled) return h.disabled_reason ? `off: ${h.disabled_reason}` : 'off';
  return h.waiting ? `tried ${h.waiting.attempts} times: ${h.waiting.error}` : 'on';
}

function Deliveries({ id }: { id: string }) {
  const { value, error, load } = useRemote<Delivery[]>(`/webhooks/${id}/deliveries?limit=10`);
  if (error) return <ErrorBox error={error} retry={load} />;
  if (value && !value.length) return <p class="help">Nothing was sent yet.</p>;
  return (
    <ul class="list">
      {value?.map((d) => (
        <li key={d.number}>
          <div>{d.kind} {d.type}<small>{d.ok ? `answered ${d.status}` : d.error}, {d.ms} ms</small></div>
          <small><Ago at={d.at} /></small>
        </li>
      ))}
    </ul>
  );
}

function Line({ hook, reload, show }: { hook: Webhook; reload: () => Promise<unknown>; show: (h: Webhook) => void }) {
  const { busy, error, run } = useWork();
  const [open, setOpen] = useState(0); // counts up, so that what is shown is read anew
  const path = `/webhooks/${hook.id}`;
  const act = (work: () => Promise<unknown>) => () => void run(async () => { await work(); await reload(); if (open) setOpen(open + 1); });
  const remove = () => confirm({
    title: 'Remove the webhook?', body: <p>Nothing is sent to {hook.url} any more.</p>, yes: 'Remove', danger: true,
    work: async () => { await api('DELETE', path); await reload(); },
  });
  const rotate = () => confirm({
    title: 'Make a new secret?', body: <p>The one of now is good for 24 hours more, beside the new one.</p>, yes: 'Make it',
    work: async () => { show(await api<Webhook>('POST', `${path}/secret`, { hours: 24 })); await reload(); },
  });
  return (
    <li class="stacked">
      <div><strong>{hook.url}</strong><small>{hook.events.join(', ') || 'all events'}; {standing(hook)}</small></div>
      <div class="actions">
        <button type="button" class="quiet" aria-disabled={busy} onClick={act(() => api('POST', `${path}/test`, {}))} aria-label={`Send a test to ${hook.url}`}>Send a test</button>
        <button type="button" class="quiet" aria-disabled={busy} onClick={act(() => api('PATCH', path, { enabled: !hook.enabled }))} aria-label={`${hook.enabled ? 'Disable' : 'Enable'} ${hook.url}`}>{hook.enabled ? 'Disable' : 'Enable'}</button>
        <button type="button" class="quiet" onClick={rotate} aria-label={`New secret for ${hook.url}`}>New secret</button>
        <button type="button" class="quiet" aria-expanded={open > 0} onClick={() => setOpen(open ? 0 : 1)} aria-label={`Deliveries to ${hook.url}`}>Deliveries</button>
        <button type="button" class="danger-quiet" onClick={remove} aria-label={`Remove ${hook.url}`}>Remove</button>
      </div>
      {error && <ErrorBox error={error} />}
      {open > 0 && <Deliveries key={open} id={hook.id} />}
    </li>
  );
}

function NewWebhook({ made }: { made: (h: Webhook) => void }) {
  const [url, setUrl] = useState('');
  const [events, setEvents] = useState('');
  const { busy, error, run } = useWork();
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => {
      made(await api<Webhook>('POST', '/webhooks', { url: url.trim(), events: events.split(/[\s,]+/).filter(Boolean) }));
      setUrl('');
      setEvents('');
    });
  };
  return (
    <form onSubmit={submit}>
      <Field label="URL" name="url" error={error}>{(a) => <input {...a} type="url" required value={url} placeholder="https://" onInput={(e) => setUrl(e.currentTarget.value)} />}</Field>
      <Field label="Events" name="events" error={error} help="Kinds like instance, or single ones like instance.stopped; all when empty.">
        {(a) => <input {...a} value={events} spellcheck={false} onInput={(e) => setEvents(e.currentTarget.value)} />}
      </Field>
      {error && !['url', 'events'].includes(error.field ?? '') && <ErrorBox error={error} />}
      <button type="submit" aria-disabled={busy}>Add a webhook</button>
    </form>
  );
}

export function Webhooks() {
  const { value, error, load } = useRemote<Webhook[]>('/webhooks');
  const [fresh, setFresh] = useState<Webhook | null>(null);
  return (
    <section class="card" aria-labelledby="webhooks">
      <h2 id="webhooks">Webhooks</h2>
      <p class="help">What happens to your machines and your account is sent to a URL of yours, signed.</p>
      {error && <ErrorBox error={error} retry={load} />}
      {fresh?.secret && <div class="fresh" role="status"><p>The secret for {fresh.url}, shown this once:</p><Copy text={fresh.secret} what="the secret" /></div>}
      {value && value.length > 0 && <ul class="list">{value.map((h) => <Line key={h.id} hook={h} reload={load} show={setFresh} />)}</ul>}
      <NewWebhook made={(h) => { setFresh(h); void load(); }} />
    </section>
  );
}
