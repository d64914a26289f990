import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Screen } from './xterm';

const decorations = { matchBackground: '#5c4a12', matchOverviewRuler: '#e2b04a', activeMatchBackground: '#a06f00', activeMatchColorOverviewRuler: '#ffffff' };

/** What is looked for in a terminal, as far back as it keeps. */
export function Find({ screen, close }: { screen: Screen; close: () => void }) {
  const [text, setText] = useState('');
  const [found, setFound] = useState('');
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => { // before anything can be typed: what is found then is told to nobody else
    input.current?.focus();
    const on = screen.search.onDidChangeResults(({ resultIndex, resultCount }) => setFound(resultCount ? `${resultIndex + 1} of ${resultCount}` : 'nothing'));
    return () => {
      on.dispose();
      screen.search.clearDecorations();
    };
  }, [screen]);
  const look = (way: 'findNext' | 'findPrevious', what: string, incremental = false) => {
    if (what) screen.search[way](what, { decorations, incremental });
    else {
      screen.search.clearDecorations();
      setFound('');
    }
  };
  return (
    <form class="find" role="search" onSubmit={(e) => { e.preventDefault(); look('findPrevious', text); }}
      onKeyDown={(e) => {
        if (e.key === 'Escape') close();
        if (e.key === 'Enter' && e.shiftKey) { e.preventDefault(); look('findNext', text); }
      }}>
      <input ref={input} type="search" aria-label="Find in the terminal" value={text} spellcheck={false} onInput={(e) => { setText(e.currentTarget.value); look('findPrevious', e.currentTarget.value, true); }} />
      <span role="status">{found}</span>
      <button type="submit" class="small quiet" aria-label="The one before">↑</button>
      <button type="button" class="small quiet" aria-label="The next one" onClick={() => look('findNext', text)}>↓</button>
      <button type="button" class="small quiet" aria-label="Close" onClick={close}>×</button>
    </form>
  );
}
