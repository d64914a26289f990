// The quiet line that says how a connection to a machine is, when there is something to be said.
import { useEffect, useState } from 'preact/hooks';
import type { Socket } from '../api/socket';
import { ErrorText } from '../ui/error';

/** Seconds since then, one by one. */
function useSeconds(since: number | null) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (since === null) return undefined;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [since]);
  return since === null ? 0 : Math.max(0, Math.floor((now - since) / 1000));
}

interface Props {
  socket: Socket;
  /** What is told while it is connected for the first time. */
  progress?: string;
  /** What is said instead when it is over by itself. */
  over?: string;
  again?: string;
  /** Instead of connecting again. */
  onAgain?: () => void;
}

export function SocketLine({ socket, progress, over, again = 'Connect again', onAgain }: Props) {
  const s = socket.state.value;
  const seconds = useSeconds(s.is === 'waiting' ? s.since : null);
  if (s.is === 'open') return null;
  const wake = onAgain ?? (() => socket.wake());
  return (
    <div class="socket-line" role="status">
      {s.is === 'connecting' && <span class="late">{progress || 'Connecting…'}</span>}
      {s.is === 'waiting' && <><span>{progress || 'Reconnecting…'} <span aria-hidden="true">{seconds} s</span>{s.why && <small> {s.why}</small>}</span><button type="button" class="small" onClick={() => socket.retry()}>Now</button></>}
      {s.is === 'asleep' && <><span>{s.refused ? <>It was not woken. <ErrorText error={s.refused} /></> : <>The machine is paused{s.why && `: ${s.why}`}.</>} Everything on its disk is kept.</span><button type="button" class="small primary" onClick={wake}>Wake it</button></>}
      {s.is === 'over' && <><span>{over || s.why || 'The connection was ended.'}</span><button type="button" class="small" onClick={wake}>{again}</button></>}
    </div>
  );
}
