// How terminals look, kept in the browser.
import { signal } from '@preact/signals';

const KEY = 'cchost.terminal';
const SIZES = [8, 32] as const;

interface Settings {
  fontSize: number;
  /** A font that this computer has, by its name; "": the page's own. */
  font: string;
  /** Lines are also put where a screen reader finds them. */
  reader: boolean;
}

function kept(): Settings {
  try {
    const s = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Settings>;
    return { fontSize: Number.isInteger(s.fontSize) ? s.fontSize as number : 14, font: typeof s.font === 'string' ? s.font.slice(0, 80) : '', reader: s.reader === true };
  } catch { return { fontSize: 14, font: '', reader: false }; }
}

export const settings = signal<Settings>(kept());

export function change(changes: Partial<Settings>) {
  const next = { ...settings.value, ...changes };
  next.fontSize = Math.min(SIZES[1], Math.max(SIZES[0], next.fontSize));
  settings.value = next;
  try { localStorage.setItem(KEY, JSON.stringify(next)); } catch { /* then it is for this page */ }
}

/** The font that is chosen, and what stands in where it is not. */
export function fontFamily() {
  const chosen = settings.value.font.replace(/["\\]/g, '').trim();
  const own = getComputedStyle(document.documentElement).getPropertyValue('--mono');
  return chosen ? `"${chosen}", ${own}` : own;
}

/** A terminal is dark on every page: programs choose their colours for that. */
export const theme = {
  background: '#0f1211', foreground: '#e3e6e4', cursor: '#6fd3c3', cursorAccent: '#0f1211', selectionBackground: '#2f5f58', selectionForeground: '#ffffff',
  black: '#2a2f2d', red: '#ff8d85', green: '#5fce8c', yellow: '#e2b04a', blue: '#7fb2ff', magenta: '#d7a0f5', cyan: '#6fd3c3', white: '#d3d7d4',
  brightBlack: '#868d89', brightRed: '#ffaea8', brightGreen: '#8be3ae', brightYellow: '#f0cb7c', brightBlue: '#a9ccff', brightMagenta: '#e6c3fa', brightCyan: '#9be6da', brightWhite: '#ffffff',
};
