import { useState } from 'preact/hooks';
import { api } from '../../api/client';
import type { Me } from '../../api/types';
import { me } from '../../state/session';
import { useWork } from '../../ui/act';
import { ErrorBox } from '../../ui/error';
import { Field } from '../../ui/field';
import { toast } from '../../ui/toast';

export function Profile() {
  const user = me.value;
  const [name, setName] = useState(user?.name ?? '');
  const { busy, error, run } = useWork();
  if (!user) return null;
  const submit = (e: Event) => {
    e.preventDefault();
    void run(async () => {
      me.value = await api<Me>('PATCH', '/auth/me', { name });
      toast.say('Your name is changed.');
    });
  };
  return (
    <section class="card" aria-labelledby="profile">
      <h2 id="profile">Profile</h2>
      <dl class="facts">
        <div><dt>Email</dt><dd>{user.email}</dd></div>
        <div><dt>Plan</dt><dd>{user.plan}</dd></div>
        <div><dt>Account</dt><dd>{user.number}{user.role === 'admin' ? ', an admin' : ''}</dd></div>
      </dl>
      <form class="inline-form" onSubmit={submit}>
        <Field label="Name" name="name" error={error}>
          {(a) => <input {...a} value={name} autocomplete="name" onInput={(e) => setName(e.currentTarget.value)} />}
        </Field>
        <button type="submit" aria-disabled={busy || name === user.name}>Save</button>
      </form>
      {error && error.field !== 'name' && <ErrorBox error={error} />}
    </section>
  );
}
