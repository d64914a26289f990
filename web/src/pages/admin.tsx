// All machines of all users.
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Machine } from '../api/types';
import { Actions } from '../machines/actions';
import { sentence, state, StatusMark } from '../machines/say';
import { emailOf, follow } from '../state/accounts';
import { list, load, loaded, problem } from '../state/machines';
import { ErrorBox } from '../ui/error';
import { useNarrow } from '../ui/narrow';
import { VirtualList } from '../ui/virtual_list';
import { Admin } from './admin/nav';

function Choice({ name, values, value, choose }: { name: string; values: string[]; value: string; choose: (v: string) => void }) {
  const id = `fleet-${name.toLowerCase()}`;
  return (
    <div class="field">
      <label for={id}>{name}</label>
      <select id={id} value={value} onChange={(e) => choose(e.currentTarget.value)}>
        <option value="">any</option>
        {values.map((v) => <option key={v} value={v}>{v}</option>)}
      </select>
    </div>
  );
}

function Row({ machine: m }: { machine: Machine }) {
  return (
    <div class="machine fleet-machine">
      <div class="machine-name"><a href={`/dashboard/machines/${m.id}`}>{m.name}</a><StatusMark machine={m} /></div>
      <div class="machine-say" title={sentence(m)}>
        <span>{emailOf(m.owner)}</span>
        <small>{m.type} · {m.provider}{m.location ? ` · ${m.location}` : ''} · {sentence(m)}</small>
      </div>
      <Actions machine={m} />
    </div>
  );
}

const distinct = (all: readonly Machine[], of: (m: Machine) => string) => [...new Set(all.map(of))].sort();

export default function Fleet() {
  const [status, setStatus] = useState('');
  const [provider, setProvider] = useState('');
  const [text, setText] = useState('');
  const narrow = useNarrow();
  useEffect(follow, []);
  const all = list.value;
  const statuses = useMemo(() => distinct(all, state), [all]);
  const providers = useMemo(() => distinct(all, (m) => m.provider), [all]);
  const wanted = text.trim().toLowerCase();
  const shown = all.filter((m) => (!status || state(m) === status) && (!provider || m.provider === provider)
    && (!wanted || `${m.name} ${m.id} ${m.type} ${emailOf(m.owner)}`.toLowerCase().includes(wanted)));
  return (
    <Admin title="Fleet">
      <div class="filters">
        <Choice name="Status" values={statuses} value={status} choose={setStatus} />
        <Choice name="Provider" values={providers} value={provider} choose={setProvider} />
        <div class="field"><label for="fleet-find">User or machine</label><input id="fleet-find" type="search" value={text} placeholder="address, name, id" onInput={(e) => setText(e.currentTarget.value)} /></div>
        <span role="status">{loaded.value ? `${shown.length} of ${all.length} machines` : ''}</span>
      </div>
      {problem.value && <ErrorBox error={problem.value} retry={load} />}
      {!loaded.value && !problem.value && <p class="loading" role="status">Loading…</p>}
      {loaded.value && !all.length && <p class="empty">There is no machine yet.</p>}
      {shown.length > 0 && <VirtualList items={shown} label="Machines" rowHeight={narrow ? 172 : 68} keyOf={(m) => m.id} row={(m) => <Row machine={m} />} />}
    </Admin>
  );
}
