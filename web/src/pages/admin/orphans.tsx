// Machines at providers that carry our label and that no record knows: paid for, and used by nobody.
import { api } from '../../api/client';
import { confirm } from '../../ui/dialog';
import { ErrorBox } from '../../ui/error';
import { Ago } from '../../ui/time';
import { toast } from '../../ui/toast';
import { VirtualList } from '../../ui/virtual_list';
import { Admin } from './nav';
import { useProviders } from './providers';

interface Orphan {
  provider: string;
  short: string;
  since: string;
}

function remove(o: Orphan) {
  confirm({
    title: `Destroy cc-${o.short}?`, yes: 'Destroy', danger: true,
    body: <p>It is a machine at {o.provider} that no record here knows. If another server uses the same account there, it may be that one’s. It goes with its disk; this cannot be undone.</p>,
    work: async () => {
      await api('DELETE', `/providers/${o.provider}/orphans/${o.short}`);
      toast.say(`cc-${o.short} is being destroyed.`);
    },
  });
}

export default function Orphans() {
  const { value, error, load } = useProviders();
  const list: Orphan[] = (value?.providers ?? []).flatMap((p) => Object.entries(p.orphans).map(([short, o]) => ({ provider: p.name, short, since: o.since })));
  list.sort((a, b) => (a.since < b.since ? -1 : a.since > b.since ? 1 : a.short < b.short ? -1 : 1));
  return (
    <Admin title="Orphans">
      <p class="lead">Machines at providers that carry our label and that no record knows. With <code>ORPHANS=delete</code> they go by themselves after a while.</p>
      {error && <ErrorBox error={error} retry={load} />}
      {value && !list.length && <p class="empty">There is none: every machine at the providers has its record.</p>}
      {list.length > 0 && (
        <VirtualList items={list} label="Orphans" rowHeight={60} keyOf={(o) => `${o.provider}/${o.short}`} row={(o) => (
          <div class="line">
            <div><strong class="mono">cc-{o.short}</strong><small>{o.provider}, seen first <Ago at={o.since} /></small></div>
            <button type="button" class="danger-quiet" onClick={() => remove(o)} aria-label={`Destroy cc-${o.short}`}>Destroy</button>
          </div>
        )} />
      )}
    </Admin>
  );
}
