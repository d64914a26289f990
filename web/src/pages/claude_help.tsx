// /help/claude: how Claude Code comes onto a machine that has none. No tab: pages that miss it lead here.
import { INSTALL_CLAUDE } from '../machines/claude';
import { Copy } from '../ui/copy';

const PATH = `echo 'PATH="$HOME/.local/bin:$PATH"' >>~/.profile && . ~/.profile`;

export default function ClaudeHelp() {
  return (
    <div class="column">
      <h1>Claude Code on a machine</h1>
      <p class="lead">A machine that is made from an image of ours has it. One of the provider <code>local</code> has what its host has, and perhaps no Claude Code.</p>
      <section class="card" aria-labelledby="install">
        <h2 id="install">Install it</h2>
        <p>In a <a href="/dashboard/terminal">terminal of the machine</a>, where Node.js is, at version 18 or newer:</p>
        <p><Copy text={INSTALL_CLAUDE} what="the command that installs Claude Code" /></p>
        <p>It goes into your home there, which stays when the machine is paused. The chat finds it by itself: it looks in the <code>PATH</code>, in <code>~/.local/bin</code>, <code>~/.claude/local</code> and <code>/usr/local/bin</code>. Nothing has to be started again.</p>
        <p class="help">A shell that does not know <code>claude</code> is told where it is:</p>
        <p><Copy text={PATH} what="the command that adds its folder to the PATH of new shells" /></p>
      </section>
      <section class="card" aria-labelledby="without">
        <h2 id="without">No Node.js on it</h2>
        <p>On a machine of your own host, its operator installs <code>nodejs</code> and <code>npm</code> there: machines of the provider <code>local</code> see the programs of their host. Or make the machine from an image that has them: “Image” of a <a href="/dashboard/new">new machine</a>.</p>
      </section>
      <section class="card" aria-labelledby="signin">
        <h2 id="signin">Sign in</h2>
        <p>Keep a subscription token or an API key in your <a href="/dashboard/settings">settings</a>, and every machine of yours is signed in. Or run <code>claude</code> in a terminal and sign in there: that is for that machine alone.</p>
      </section>
      <section class="card" aria-labelledby="look">
        <h2 id="look">See whether it is there</h2>
        <p><Copy text="claude --version" what="the command that says which version there is" /></p>
        <p>Then open the <a href="/dashboard/chat">chat</a>.</p>
      </section>
    </div>
  );
}
