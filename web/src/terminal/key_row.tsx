// Keys that a phone's keyboard lacks. Shown where there is a touch screen and little room.
import { useState } from 'preact/hooks';
import type { Screen } from './xterm';

const control = (c: string) => {
  const code = c.toUpperCase().charCodeAt(0);
  return code >= 64 && code < 96 ? String.fromCharCode(code - 64) : c;
};

export function KeyRow({ type, screen }: { type: (text: string) => void; screen: Screen }) {
  const [ctrl, setCtrl] = useState<{ dispose(): void } | null>(null);
  // The next letter is typed with Ctrl: it is taken before the terminal has it.
  const hold = () => {
    ctrl?.dispose();
    if (ctrl) { setCtrl(null); return; }
    const area = screen.term.textarea;
    const take = (e: InputEvent) => {
      if (!e.data || e.data.length !== 1) return;
      e.preventDefault();
      e.stopImmediatePropagation();
      type(control(e.data));
      off();
    };
    const off = () => {
      area?.removeEventListener('beforeinput', take, true);
      setCtrl(null);
    };
    area?.addEventListener('beforeinput', take, true);
    area?.focus();
    setCtrl({ dispose: off });
  };
  const arrow = (letter: string) => type(`\x1b${screen.term.modes.applicationCursorKeysMode ? 'O' : '['}${letter}`);
  const keys: [string, string, () => void][] = [
    ['Esc', 'Esc', () => type('\x1b')], ['Tab', 'Tab', () => type('\t')], ['^C', 'Ctrl and C', () => type('\x03')],
    ['←', 'Left', () => arrow('D')], ['↓', 'Down', () => arrow('B')], ['↑', 'Up', () => arrow('A')], ['→', 'Right', () => arrow('C')],
  ];
  return (
    <div class="key-row" role="group" aria-label="Keys">
      <button type="button" class="small" aria-pressed={ctrl !== null} onClick={hold}>Ctrl</button>
      {keys.map(([text, name, act]) => <button key={text} type="button" class="small" aria-label={name} onClick={act}>{text}</button>)}
    </div>
  );
}
