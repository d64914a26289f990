// xterm.js with its add-ons, as a file of its own that is loaded when a terminal is opened: import it by import() alone.
import './sheet';
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal, type ITerminalOptions } from '@xterm/xterm';

export interface Screen {
  term: Terminal;
  fit: FitAddon;
  search: SearchAddon;
}

/** A terminal in that element; whoever made it ends it by term.dispose(). */
export function openScreen(element: HTMLElement, options: ITerminalOptions): Screen {
  const screen = { term: new Terminal(options), fit: new FitAddon(), search: new SearchAddon() };
  screen.term.loadAddon(screen.fit);
  screen.term.loadAddon(screen.search);
  screen.term.loadAddon(new WebLinksAddon((event, url) => {
    if (event.ctrlKey || event.metaKey) window.open(url, '_blank', 'noopener,noreferrer');
  }));
  screen.term.open(element);
  screen.fit.fit();
  return screen;
}
