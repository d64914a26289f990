// A terminal to look on, by a link that somebody gave (terminal/share.tsx). Its token stands behind the #.
import { TerminalView } from '../terminal/view';

export default function WatchPage() {
  const token = location.hash.slice(1);
  if (!/^[0-9a-z]{20,200}$/i.test(token)) {
    return <div class="work-choose"><div class="column"><h1>This link is not whole</h1><p class="lead">Ask who gave it for all of it: what stands behind the # is missing.</p></div></div>;
  }
  return (
    <div class="work">
      <div class="work-bar"><h1>A terminal</h1><small>You look on: what you type goes nowhere.</small></div>
      <TerminalView source={{ path: `/shared/${token}`, session: null, view: true }} />
    </div>
  );
}
