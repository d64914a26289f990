import { useState } from 'preact/hooks';
import { toast } from './toast';

/** Without https a browser gives no clipboard: then the old way. */
export async function copyText(text: string) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const ok = document.execCommand('copy');
  area.remove();
  if (!ok) throw new Error('refused');
  return undefined;
}

/** Text in a line, and a button that copies it. `what`: for whom the button is read to. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false);
  const click = () => copyText(text).then(() => {
    setDone(true);
    setTimeout(setDone, 2000, false);
  }, () => toast.say('The browser did not allow it: select the text and copy it yourself.'));
  return (
    <span class="copy">
      <code tabIndex={0} aria-label={what}>{text}</code>
      <button type="button" class="small" onClick={click} aria-label={`Copy ${what}`}>{done ? 'Copied' : 'Copy'}</button>
    </span>
  );
}
