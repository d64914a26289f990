// Where one is signed in.
import { api } from '../../api/client';
import { attempt } from '../../ui/act';
import { confirm } from '../../ui/dialog';
import { ErrorBox } from '../../ui/error';
import { useRemote } from '../../ui/remote';
import { Ago } from '../../ui/time';

interface Session {
  id: string;
  address: string | null;
  agent: string | null;
  created_at: string;
  current: boolean;
}

// "Firefox on Linux", of what a browser says of itself.
function program(agent: string | null) {
  if (!agent) return 'A program';
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(agent)?.[1] ?? agent.split(/[\s/]/)[0];
  const system = /(Windows|Mac OS X|Android|iPhone|iPad|Linux)/.exec(agent)?.[1];
  const name = { Edg: 'Edge', OPR: 'Opera' }[browser ?? ''] ?? browser;
  return system ? `${name} on ${system}` : name;
}

export function Sessions() {
  const { value, error, load } = useRemote<Session[]>('/auth/sessions');
  const others = () => confirm({
    title: 'Sign out everywhere else?', body: <p>Terminals that are open there are closed.</p>, yes: 'Sign out elsewhere', danger: true,
    work: async () => { await api('DELETE', '/auth/sessions?others=true'); await load(); },
  });
  return (
    <section class="card" aria-labelledby="sessions">
      <h2 id="sessions">Sessions</h2>
      {error && <ErrorBox error={error} retry={load} />}
      <ul class="list">
        {value?.map((s) => (
          <li key={s.id}>
            <div><strong>{program(s.agent)}{s.current && ' (this one)'}</strong><small>{s.address ?? 'address unknown'}, since <Ago at={s.created_at} /></small></div>
            {!s.current && (
              <button type="button" class="danger-quiet" aria-label={`End the session of ${program(s.agent)}`}
                onClick={() => attempt(() => api('DELETE', `/auth/sessions/${s.id}`)).then(load)}>End</button>
            )}
          </li>
        ))}
      </ul>
      {value && value.length > 1 && <button type="button" onClick={others}>Sign out everywhere else</button>}
    </section>
  );
}
