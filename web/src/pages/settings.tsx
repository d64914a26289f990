// One's account: who one is, and what opens doors: credentials for Claude, SSH keys, API tokens, sessions;
// and where events are sent.
import { Claude } from './settings/claude';
import { Profile } from './settings/profile';
import { Sessions } from './settings/sessions';
import { SshKeys } from './settings/ssh_keys';
import { Tokens } from './settings/tokens';
import { Webhooks } from './settings/webhooks';

export default function Settings() {
  return (
    <div class="column">
      <h1>Settings</h1>
      <Profile />
      <Claude />
      <SshKeys />
      <Tokens />
      <Webhooks />
      <Sessions />
    </div>
  );
}
