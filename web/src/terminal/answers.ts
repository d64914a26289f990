// What programs ask a terminal (which one are you, where is the cursor, what colour have you?), it answers as if it were typed. Said
// again to who comes later, or to two who look on, such a question would be answered by nobody's leave, into whatever reads now.
import type { Terminal } from '@xterm/xterm';

const CSI = [{ final: 'c' }, { prefix: '>', final: 'c' }, { final: 'n' }, { prefix: '?', final: 'n' }, { intermediates: '$', final: 'p' },
  { prefix: '?', intermediates: '$', final: 'p' }];
const COLOURS = [4, 10, 11, 12]; // OSC: a colour is set, or asked for by a ?

/** Answers as long as `may` says so; a question that it does not is taken, and dropped. */
export function answerIf(term: Terminal, may: () => boolean) {
  const drop = () => !may();
  for (const id of CSI) term.parser.registerCsiHandler(id, drop);
  term.parser.registerDcsHandler({ intermediates: '$', final: 'q' }, drop);
  for (const n of COLOURS) term.parser.registerOscHandler(n, (text) => text.endsWith('?') && drop());
}
