// What was said, as one reads it. An item that is the same object is the same element, and is not looked at again: a long
// transcript costs what its newest part does.
import type { VNode } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Machine } from '../api/types';
import { attempt } from '../ui/act';
import { HELP_CLAUDE, INSTALL_CLAUDE } from '../machines/claude';
import { Copy } from '../ui/copy';
import { to } from '../work/place';
import type { Chat } from './chat';
import type { ErrorItem, Item, ToolItem } from './events';
import { Markdown } from './markdown';

const SHOWN = 100000; // characters of a tool's input or output

const whole = (v: unknown) => (typeof v === 'string' ? v : JSON.stringify(v, null, 2) ?? '');
const cut = (text: string) => (text.length > SHOWN ? `${text.slice(0, SHOWN)}\n[${text.length - SHOWN} characters more]` : text);

// What a tool does, in a line: the first thing that it was told which says so.
function brief(input: unknown) {
  if (typeof input !== 'object' || input === null) return '';
  const o = input as Record<string, unknown>;
  const said = o.command ?? o.file_path ?? o.path ?? o.pattern ?? o.query ?? o.url ?? o.description ?? Object.values(o).find((v) => typeof v === 'string');
  return typeof said === 'string' ? said.split('\n')[0]?.slice(0, 200) ?? '' : '';
}

function Tool({ item }: { item: ToolItem }) {
  const [open, setOpen] = useState(false);
  const state = item.output === null ? 'at work' : item.bad ? 'failed' : '';
  return (
    <details class="tool" onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary><strong>{item.tool}</strong> <code>{brief(item.input)}</code> {state && <small class={item.bad ? 'bad' : ''}>{state}</small>}</summary>
      {open && (
        <div>
          <pre tabIndex={0} aria-label="Input">{cut(whole(item.input))}</pre>
          {item.output !== null && <pre tabIndex={0} aria-label="Output">{cut(item.output) || '(nothing)'}</pre>}
        </div>
      )}
    </details>
  );
}

function Failure({ item, machine }: { item: ErrorItem; machine: Machine }) {
  return (
    <div class="error-box">
      <p>{item.text}</p>
      {item.code === 'no_claude' && <><Copy text={INSTALL_CLAUDE} what="the command that installs Claude Code" /><a class="button small" href={HELP_CLAUDE}>How it gets there</a><a class="button small" href={to('terminal', machine)}>Open a terminal</a></>}
      {item.code === 'auth' && <><a class="button small" href="/dashboard/settings">Settings</a><a class="button small" href={to('terminal', machine)}>Sign in in a terminal</a></>}
    </div>
  );
}

function elementOf(item: Item, chat: Chat, machine: Machine): VNode {
  switch (item.kind) {
    case 'user': return (
      <div class="said mine">
        <span class="sr">You:</span>
        <div>{item.text}</div>
        {item.lost && <p class="lost">It did not arrive. <button type="button" class="small" onClick={() => chat.sayAgain(item)}>Say it again</button></p>}
      </div>
    );
    case 'text': return <div class="said"><span class="sr">Claude:</span><Markdown text={item.text} /></div>;
    case 'tool': return <Tool item={item} />;
    case 'error': return <Failure item={item} machine={machine} />;
    default: return <p class="note">{item.text}</p>;
  }
}

export function Transcript({ chat, machine }: { chat: Chat; machine: Machine }) {
  const box = useRef<HTMLDivElement>(null);
  const elements = useRef(new WeakMap<Item, VNode>());
  const [below, setBelow] = useState(false);
  const stick = useRef(true);
  const height = useRef(0);
  const items = [...chat.history.value, ...chat.items.value];

  // At the end it stays there; further up, what one reads stays where it is, also when earlier messages come above it.
  useLayoutEffect(() => {
    const b = box.current;
    if (!b) return;
    if (stick.current) b.scrollTop = b.scrollHeight;
    else if (b.scrollTop < 80 && b.scrollHeight > height.current) b.scrollTop += b.scrollHeight - height.current;
    height.current = b.scrollHeight;
  });
  const look = () => {
    const b = box.current;
    if (!b) return;
    stick.current = b.scrollHeight - b.scrollTop - b.clientHeight < 40;
    setBelow(!stick.current);
  };
  const down = () => {
    stick.current = true;
    if (box.current) box.current.scrollTop = box.current.scrollHeight;
  };
  const shown = (item: Item) => {
    let e = elements.current.get(item);
    if (!e) elements.current.set(item, e = <div key={item.key} class="item">{elementOf(item, chat, machine)}</div>);
    return e;
  };
  return (
    <div class="transcript-frame">
      <div ref={box} class="transcript" role="log" aria-label="Conversation" aria-busy={chat.working.value} tabIndex={0} onScroll={look}>
        {chat.before.value && <p class="note"><button type="button" class="small" onClick={() => attempt(() => chat.earlier())}>Earlier messages</button></p>}
        {!items.length && chat.ready.value && <p class="note">Ask Claude something about this project: it sees the files, and can change them and run commands on the machine.</p>}
        {items.map(shown)}
        {chat.working.value && <p class="note working" role="status"><i aria-hidden="true" />Claude is at work. Esc stops it.</p>}
      </div>
      {below && <button type="button" class="to-end small" onClick={down}>To the end ↓</button>}
    </div>
  );
}
