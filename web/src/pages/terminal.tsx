// Terminals of a machine that it keeps: each goes on while nobody looks, and is found again as it was.
import { useRef } from 'preact/hooks';
import type { Machine } from '../api/types';
import { help } from '../terminal/keys';
import { Share } from '../terminal/share';
import { change, settings } from '../terminal/settings';
import { NAME, Tabs, useSessions } from '../terminal/tabs';
import { MAIN, sourceOf, TerminalView } from '../terminal/view';
import { Pop } from '../ui/pop';
import { value } from '../work/place';
import { Work } from '../work/work';

// A tab's name, of a folder's: of fewer letters, and never that of the first one.
function tabOf(cwd: string) {
  const name = (cwd.split('/').pop() ?? '').replace(/[^A-Za-z0-9._-]/g, '-').replace(/^[.-]+/, '').slice(0, 60);
  return !name || name === MAIN ? `${name || 'project'}-1` : name;
}

// The address says the tab, or the folder that one is opened in.
function tabNow() {
  const said = value('tab'), cwd = value('cwd');
  if (said && NAME.test(said)) return said;
  return cwd ? tabOf(cwd) : MAIN;
}

function Tools({ machine }: { machine: Machine }) {
  const tab = tabNow();
  const { fontSize, font, reader } = settings.value;
  return (
    <div class="work-tools">
      <button type="button" class="small quiet" aria-label="A−: smaller letters" onClick={() => change({ fontSize: fontSize - 1 })}>A−</button>
      <button type="button" class="small quiet" aria-label="A+: larger letters" onClick={() => change({ fontSize: fontSize + 1 })}>A+</button>
      <Share key={`${machine.id} ${tab}`} machine={machine} session={tab} />
      <Pop title="Keys">
        <dl class="keys">{help.map(([key, does]) => <div key={key}><dt>{key}</dt><dd>{does}</dd></div>)}</dl>
        <div class="field"><label for="font">Font of this computer</label><input id="font" value={font} maxLength={80} autocomplete="off" spellcheck={false} placeholder="the page’s own" onChange={(e) => change({ font: e.currentTarget.value })} /></div>
        <label class="check"><input type="checkbox" checked={reader} onChange={(e) => change({ reader: e.currentTarget.checked })} /> For a screen reader</label>
      </Pop>
    </div>
  );
}

function Terminals({ machine }: { machine: Machine }) {
  const tab = tabNow();
  const { list, load } = useSessions(machine);
  const bar = useRef<HTMLDivElement>(null);
  return (
    <>
      <div ref={bar} class="terminal-bar"><Tabs machine={machine} current={tab} sessions={list} load={load} /></div>
      <TerminalView key={`${machine.id} ${tab}`} source={sourceOf(machine.id, tab, value('cwd'))} changed={() => void load()}
        leave={() => bar.current?.querySelector<HTMLElement>('[aria-current]')?.focus()} />
    </>
  );
}

export default function TerminalPage() {
  return <Work page="terminal" title="Terminal" tools={(m) => <Tools machine={m} />}>{(m) => <Terminals key={m.id} machine={m} />}</Work>;
}
