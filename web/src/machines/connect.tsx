// How one's own terminal gets onto a machine.
import type { Machine } from '../api/types';
import { Copy } from '../ui/copy';

export const connectCommand = (m: Machine) => `claude-cloud connect ${m.name}`;
export const installCommand = () => `curl -fsS ${location.origin}/install.sh | sh`;

export function Connect({ machine }: { machine: Machine }) {
  return (
    <section class="card" aria-labelledby="connect">
      <h2 id="connect">Connect from your own terminal</h2>
      <p><Copy text={connectCommand(machine)} what="the command that connects" /></p>
      <p class="help">Needs the tool once on your computer, and to be signed in there (<code>claude-cloud login</code>):</p>
      <p><Copy text={installCommand()} what="the command that installs the tool" /></p>
      {machine.ssh && ('host' in machine.ssh
        ? <><p class="help">Or by ssh, with one of your keys:</p><p><Copy text={`ssh -p ${machine.ssh.port} ${machine.ssh.user}@${machine.ssh.host}`} what="the ssh command" /></p></>
        : <p class="help">Not by ssh: {machine.ssh.why}.</p>)}
    </section>
  );
}
