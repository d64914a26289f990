// Which machine: typed, with what fits below; of ten thousand a list to choose from would be none.
import { useEffect, useState } from 'preact/hooks';
import type { Machine } from '../../api/types';

const MOST = 20;

interface Props {
  all: readonly Machine[];
  chosen: Machine | null;
  choose: (m: Machine | null) => void;
}

export function MachineChoice({ all, chosen, choose }: Props) {
  const [text, setText] = useState(chosen?.name ?? '');
  useEffect(() => { if (chosen) setText(chosen.name); }, [chosen?.id]);
  const wanted = text.trim().toLowerCase();
  const fits = all.filter((m) => m.name.toLowerCase().includes(wanted)).slice(0, MOST);
  const typed = (value: string) => {
    setText(value);
    const m = all.find((x) => x.name === value.trim() || x.short === value.trim());
    if (m && m.id !== chosen?.id) choose(m);
    if (!value.trim() && chosen) choose(null);
  };
  return (
    <div class="field">
      <label for="machine">Machine</label>
      <input id="machine" type="search" list="machines" autocomplete="off" spellcheck={false} placeholder="all of them" value={text} onInput={(e) => typed(e.currentTarget.value)} />
      <datalist id="machines">{fits.map((m) => <option key={m.id} value={m.name} />)}</datalist>
    </div>
  );
}
