// The difference of two texts by lines, with three lines around each change.

export interface Line {
  /** "@" stands for lines that are the same and left out. */
  mark: ' ' | '+' | '-' | '@';
  text: string;
}

const AROUND = 3;
const MOST = 2000; // changed lines of either, beyond which the middle is shown as replaced

// The longest list of lines that both have, in order. -> the marks
function middle(a: readonly string[], b: readonly string[]): Line[] {
  if (a.length * b.length > MOST * MOST) return [...a.map((text): Line => ({ mark: '-', text })), ...b.map((text): Line => ({ mark: '+', text }))];
  const width = b.length + 1;
  const best = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number) => best[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) best[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  }
  const out: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ mark: ' ', text: a[i] ?? '' });
      i++; j++;
    } else if (j >= b.length || i < a.length && at(i + 1, j) >= at(i, j + 1)) out.push({ mark: '-', text: a[i++] ?? '' });
    else out.push({ mark: '+', text: b[j++] ?? '' });
  }
  return out;
}

export function changes(was: string, is: string): Line[] {
  const a = was.split('\n');
  const b = is.split('\n');
  let first = 0;
  while (first < a.length && first < b.length && a[first] === b[first]) first++;
  let last = 0;
  while (last < a.length - first && last < b.length - first && a[a.length - 1 - last] === b[b.length - 1 - last]) last++;
  const same = (list: string[]): Line[] => list.map((text) => ({ mark: ' ', text }));
  const all = [...same(a.slice(0, first)), ...middle(a.slice(first, a.length - last), b.slice(first, b.length - last)), ...same(a.slice(a.length - last))];
  const near = all.map((_, i) => all.slice(Math.max(0, i - AROUND), i + AROUND + 1).some((l) => l.mark !== ' '));
  return all.flatMap((l, i): Line[] => (near[i] ? [l] : near[i - 1] || i === 0 ? [{ mark: '@', text: '' }] : []));
}
