// All accounts, and what an admin does with one.
import { useEffect, useState } from 'preact/hooks';
import { api } from '../../api/client';
import type { User } from '../../api/admin_types';
import { accounts, follow, list, load, loaded, problem, put } from '../../state/accounts';
import { me } from '../../state/session';
import { offers } from '../../state/shared';
import { attempt } from '../../ui/act';
import { confirm } from '../../ui/dialog';
import { ErrorBox } from '../../ui/error';
import { exactly, hours } from '../../ui/format';
import { useNarrow } from '../../ui/narrow';
import { toast } from '../../ui/toast';
import { VirtualList } from '../../ui/virtual_list';
import { Admin } from './nav';

const at = (u: User) => `/users/${u.id}`;

function suspend(u: User) {
  confirm({
    title: `Suspend ${u.email}?`, yes: 'Suspend', danger: true,
    body: <p>He is signed out within a second, his tokens no longer work, and he cannot sign in. His machines go on as they are, and his plan pays for them.</p>,
    work: async () => { put(await api<User>('POST', `${at(u)}/suspend`, {})); },
  });
}

const resume = (u: User) => attempt(async () => { put(await api<User>('POST', `${at(u)}/resume`, {})); });

function remove(u: User) {
  confirm({
    title: `Delete ${u.email}?`, yes: 'Delete the account', danger: true,
    body: <p>His machines and volumes are deleted with all that is on them, and his subscription ends. The books stay, without his name. This cannot be undone; what was his can be saved before, by <a href={`${at(u)}/export`} download={`${u.email}.json`}>an export</a>.</p>,
    work: async () => {
      await api('DELETE', `${at(u)}?machines=delete`);
      const next = new Map(accounts.value);
      next.delete(u.id);
      accounts.value = next;
      toast.say(`${u.email} is deleted; his machines are going.`);
    },
  });
}

// What is typed; the dialog's work reads it.
const wanted = { plan: '', reason: '' };

function Grant({ user: u }: { user: User }) {
  const [plan, setPlan] = useState(wanted.plan);
  const plans = offers.value.value?.plans ?? [];
  return (
    <>
      <div class="field">
        <label for="grant-plan">Plan</label>
        <select id="grant-plan" value={plan} onChange={(e) => { wanted.plan = e.currentTarget.value; setPlan(wanted.plan); }}>
          {plans.map((p) => <option key={p.name} value={p.name}>{p.name}</option>)}
        </select>
      </div>
      <div class="field">
        <label for="grant-reason">Reason</label>
        <input id="grant-reason" required maxLength={200} onInput={(e) => { wanted.reason = e.currentTarget.value; }} />
      </div>
      <p class="help">It needs no subscription and has no fee. The reason stands in the log{u.subscription_status !== 'inactive' ? '; a subscription that he has goes on' : ''}.</p>
    </>
  );
}

function grant(u: User) {
  wanted.plan = u.plan;
  wanted.reason = '';
  confirm({
    title: `Give ${u.email} a plan`, yes: 'Give the plan', body: <Grant user={u} />,
    work: async () => { put(await api<User>('PATCH', at(u), { plan: wanted.plan, reason: wanted.reason })); },
  });
}

function Row({ user: u }: { user: User }) {
  const own = u.id === me.value?.id;
  return (
    <div class="machine user">
      <div class="machine-name"><strong>{u.email}</strong><small>{u.name}{u.role === 'admin' ? ' · admin' : ''}{u.status === 'suspended' ? ' · suspended' : ''}</small></div>
      <div class="machine-say">
        <span>{u.plan}{u.granted ? ', given' : u.subscription_status !== 'inactive' ? `, ${u.subscription_status}` : ''} · {hours(u.usage_hours)} used</span>
        <small>number {u.number} · since {exactly(u.created_at)}{u.last_sign_in_at ? ` · last seen ${exactly(u.last_sign_in_at)}` : ' · never seen'}</small>
      </div>
      <div class="buttons" role="group" aria-label={`Actions of ${u.email}`}>
        <button type="button" onClick={() => grant(u)}>Plan</button>
        {u.status === 'suspended' ? <button type="button" onClick={() => resume(u)}>Resume</button> : !own && <button type="button" onClick={() => suspend(u)}>Suspend</button>}
        {!own && <button type="button" class="danger-quiet" onClick={() => remove(u)}>Delete</button>}
      </div>
    </div>
  );
}

export default function Users() {
  const [text, setText] = useState('');
  const narrow = useNarrow();
  useEffect(follow, []);
  useEffect(() => { void offers.load(); }, []);
  const wantedText = text.trim().toLowerCase();
  const all = list.value;
  const shown = wantedText ? all.filter((u) => `${u.email} ${u.name} ${u.id} ${u.number} ${u.plan} ${u.status} ${u.role}`.toLowerCase().includes(wantedText)) : all;
  return (
    <Admin title="Users">
      <div class="filters">
        <div class="field"><label for="users-find">Find</label><input id="users-find" type="search" value={text} placeholder="address, name, plan, status" onInput={(e) => setText(e.currentTarget.value)} /></div>
        <span role="status">{loaded.value ? `${shown.length} of ${all.length} accounts` : ''}</span>
      </div>
      {problem.value && <ErrorBox error={problem.value} retry={load} />}
      {!loaded.value && !problem.value && <p class="loading" role="status">Loading…</p>}
      {shown.length > 0 && <VirtualList items={shown} label="Accounts" rowHeight={narrow ? 172 : 68} keyOf={(u) => u.id} row={(u) => <Row user={u} />} />}
    </Admin>
  );
}
