// What keys and the mouse do in a terminal beside typing. Ctrl+Shift is ours, all else is the program's.
import { copyText } from '../ui/copy';
import { toast } from '../ui/toast';
import type { Screen } from './xterm';
import { change, settings } from './settings';

export const help: [string, string][] = [
  ['Ctrl+Shift+C', 'copies what is selected (so does Ctrl+C while something is)'],
  ['Ctrl+Shift+V', 'pastes'],
  ['Right click', 'copies what is selected, else pastes; with Shift it is the browser’s'],
  ['Ctrl+Shift+F', 'finds'],
  ['Ctrl+Shift+↑', 'leaves the terminal, to its tabs; Tab and Shift+Tab are the program’s'],
  ['Ctrl+Shift+< >', 'smaller and larger letters'],
  ['Ctrl+click', 'opens a link'],
];

function copy(screen: Screen) {
  const text = screen.term.getSelection();
  if (!text) return;
  copyText(text).then(() => screen.term.clearSelection(), () => toast.say('The browser did not allow it.'));
}

function paste(screen: Screen) {
  if (!navigator.clipboard?.readText) {
    toast.say('The browser lets no page read the clipboard here: paste by its own key, Ctrl+V or Shift+Insert.');
    return;
  }
  navigator.clipboard.readText().then((text) => screen.term.paste(text), () => toast.say('The browser did not allow it: paste by Ctrl+V or Shift+Insert.'));
}

/** `view`: nothing is typed in it, so that Tab is the page's. */
export function takeKeys(screen: Screen, element: HTMLElement, ways: { find: () => void; leave: () => void; view: boolean }) {
  const ours: Record<string, () => void> = {
    KeyC: () => copy(screen), KeyV: () => paste(screen), KeyF: ways.find, ArrowUp: ways.leave,
    Comma: () => change({ fontSize: settings.value.fontSize - 1 }), Period: () => change({ fontSize: settings.value.fontSize + 1 }),
  };
  screen.term.attachCustomKeyEventHandler((e) => {
    if (ways.view && e.key === 'Tab') return false; // xterm.js would keep it, to send it nowhere
    const ctrl = e.ctrlKey && !e.altKey && !e.metaKey;
    let act = ctrl && e.shiftKey ? ours[e.code] : undefined;
    if (ctrl && !e.shiftKey && e.code === 'KeyC' && screen.term.hasSelection()) act = ours.KeyC;
    if (!act) return true;
    e.preventDefault();
    if (e.type === 'keydown') act();
    return false;
  });
  element.addEventListener('contextmenu', (e) => {
    if (e.shiftKey) return;
    e.preventDefault();
    if (screen.term.hasSelection()) copy(screen); else paste(screen);
    screen.term.focus();
  });
}
