// One terminal on the page: xterm.js, and the link to the session that it shows.
import { useSignal, useSignalEffect } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { api, asError } from '../api/client';
import { toast } from '../ui/toast';
import { SocketLine } from '../work/socket_line';
import { Find } from './find';
import { KeyRow } from './key_row';
import { answerIf } from './answers';
import { takeKeys } from './keys';
import { TerminalLink } from './link';
import { fontFamily, settings, theme } from './settings';
import type { Screen } from './xterm';

interface Open {
  screen: Screen;
  link: TerminalLink;
}

const bytesOf = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

// The terminal "main" has what the machine shows in its own terminals, a multiplexer where there is one; each other tab a shell.
export const MAIN = 'main';
const made = (machine: string, name: string, cwd: string | null) => async (wake: boolean) => {
  if (name !== MAIN) await api('POST', `/instances/${machine}/tabs?wake=${wake}`, cwd === null ? { name } : { name, cwd });
};

/** What is shown: a session of a machine's, or what somebody gave a link to, which is only looked at. */
export interface Source {
  path: string;
  machine?: string;
  prepare?: (wake: boolean) => Promise<void>;
  session: string | null;
  view?: boolean;
}

/** `cwd`: the folder in which its shell begins, when it is made. */
export const sourceOf = (machine: string, session: string, cwd: string | null = null): Source => ({
  path: `/instances/${machine}/terminal`, machine, session, prepare: made(machine, session, cwd),
});

function connect(screen: Screen, source: Source): TerminalLink {
  const { term } = screen;
  const link = new TerminalLink(source, source.session, {
    size: () => ({ columns: term.cols, rows: term.rows }), write: (data, done) => term.write(data, done), reset: () => term.reset(),
  });
  answerIf(term, () => link.answers);
  if (!source.view) {
    const type = (data: string | Uint8Array) => {
      if (!link.type(data)) toast.say('The machine does not take what is typed: this was left out.');
    };
    term.onData(type);
    term.onBinary((text) => type(bytesOf(text)));
    term.onResize(() => link.resized());
  }
  link.socket.wake();
  return link;
}

interface Props {
  /** Shown anew when its key changes. */
  source: Source;
  /** Called when its session is there, and when it has ended. */
  changed?: () => void;
  leave?: () => void;
}

export function TerminalView({ source, changed = () => {}, leave = () => {} }: Props) {
  const element = useRef<HTMLDivElement>(null);
  const open = useSignal<Open | null>(null);
  const finding = useSignal(false);

  useEffect(() => {
    let gone = false;
    let end = () => {};
    import('./xterm').then(({ openScreen }) => {
      if (gone || !element.current) return;
      const { fontSize, reader } = settings.value;
      const screen = openScreen(element.current, {
        theme, fontSize, screenReaderMode: reader, scrollback: 10000, cursorBlink: !source.view, disableStdin: source.view === true, minimumContrastRatio: 4.5, allowProposedApi: true,
        fontFamily: fontFamily(), macOptionIsMeta: true,
      });
      const link = connect(screen, source);
      takeKeys(screen, element.current, { find: () => { finding.value = true; }, leave, view: source.view === true });
      const look = new ResizeObserver(() => screen.fit.fit());
      look.observe(element.current);
      end = () => {
        look.disconnect();
        link.close();
        screen.term.dispose();
      };
      open.value = { screen, link };
      screen.term.focus();
    }, (e) => toast.error(asError(e)));
    return () => {
      gone = true;
      end();
      open.value = null;
    };
  }, [source.path, source.session]);

  useSignalEffect(() => {
    const { fontSize, reader } = settings.value;
    const screen = open.value?.screen;
    if (!screen) return;
    screen.term.options.fontSize = fontSize;
    screen.term.options.fontFamily = fontFamily();
    screen.term.options.screenReaderMode = reader;
    screen.fit.fit();
  });
  useSignalEffect(() => { if (open.value?.link.joined.value || open.value?.link.exit.value !== null) changed(); });

  const o = open.value;
  const exit = o?.link.exit.value ?? null;
  return (
    <div class="terminal">
      {o && <SocketLine socket={o.link.socket} progress={o.link.progress.value} onAgain={() => o.link.again()} again={exit === null || source.view ? 'Connect again' : 'New shell'}
        over={exit === null ? '' : `The shell has ended${exit ? `, with ${exit}` : ''}.`} />}
      {finding.value && o && <Find screen={o.screen} close={() => { finding.value = false; o.screen.term.focus(); }} />}
      <div ref={element} class="terminal-screen" role="group" aria-label={`Terminal ${source.session ?? ''}`.trim()} />
      {o && !source.view && <KeyRow type={(text) => { o.link.type(text); o.screen.term.focus(); }} screen={o.screen} />}
    </div>
  );
}
