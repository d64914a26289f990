// Markdown as far as answers have it: paragraphs, headings, lists, quotes, tables, code, links. It becomes elements, never HTML
// that is parsed, and a link leads only where the web does: what a text says cannot become anything else.
import type { ComponentChildren, VNode } from 'preact';
import { useState } from 'preact/hooks';
import { copyText } from '../ui/copy';

// ---- in a line

const INLINE = /(`+)(.+?)\1(?!`)|\*\*(?=\S)(.+?)\*\*|__(?=\S)(.+?)__|~~(?=\S)(.+?)~~|\*(?=[^\s*])([^*\n]+?)\*|(?<![\w_])_(?=[^\s_])([^_\n]+?)_(?!\w)|\[([^\]\n]+)\]\(<?([^\s)>]+)>?(?:\s+"[^"]*")?\)|(https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]])|\\([\\`*_{}[\]()#+.!~>|-])/;
const DEEP = 8;
const LINE = 20000; // characters, beyond which a line is shown as it is: no text may hold up the page

function Link({ to, children }: { to: string; children: ComponentChildren }) {
  if (!/^(https?:|mailto:)/i.test(to)) return <>{children} ({to})</>;
  return <a href={to} target="_blank" rel="noopener noreferrer nofollow">{children}</a>;
}

export function inline(text: string, depth = 0): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let rest = text;
  while (rest && depth < DEEP && text.length <= LINE) {
    const m = INLINE.exec(rest);
    if (!m) break;
    if (m.index) out.push(rest.slice(0, m.index));
    const [whole, , code, strong, strong2, del, em, em2, label, url, bare, escaped] = m;
    const within = (t: string) => inline(t, depth + 1);
    if (code !== undefined) out.push(<code>{code.replace(/^ (.*[^ ].*) $/, '$1')}</code>);
    else if (strong ?? strong2) out.push(<strong>{within((strong ?? strong2) as string)}</strong>);
    else if (del) out.push(<del>{within(del)}</del>);
    else if (em ?? em2) out.push(<em>{within((em ?? em2) as string)}</em>);
    else if (label && url) out.push(<Link to={url}>{within(label)}</Link>);
    else if (bare) out.push(<Link to={bare}>{bare}</Link>);
    else out.push(escaped ?? whole);
    rest = rest.slice(m.index + whole.length);
  }
  if (rest) out.push(rest);
  return out;
}

// ---- blocks

function Code({ text, language }: { text: string; language: string }) {
  const [done, setDone] = useState(false);
  const copy = () => copyText(text).then(() => {
    setDone(true);
    setTimeout(setDone, 2000, false);
  }, () => {});
  return (
    <div class="code">
      <div class="code-head"><small>{language || 'text'}</small><button type="button" class="small quiet" onClick={copy}>{done ? 'Copied' : 'Copy'}</button></div>
      <pre tabIndex={0}><code>{text}</code></pre>
    </div>
  );
}

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_LINE = /^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$/;

const cells = (line: string) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((c) => c.trim());

function table(lines: string[], at: number): [VNode, number] {
  let end = at + 2;
  while (end < lines.length && lines[end]?.includes('|') && lines[end]?.trim()) end++;
  const row = (line: string) => cells(line);
  return [(
    <div class="scroll" tabIndex={0}><table>
      <thead><tr>{row(lines[at] ?? '').map((c) => <th scope="col">{inline(c)}</th>)}</tr></thead>
      <tbody>{lines.slice(at + 2, end).map((l) => <tr>{row(l).map((c) => <td>{inline(c)}</td>)}</tr>)}</tbody>
    </table></div>
  ), end];
}

const indent = (line: string) => /^\s*/.exec(line)?.[0].length ?? 0;

// A list: its items, each with what is indented beneath it.
function list(lines: string[], at: number, depth: number): [VNode, number] {
  const first = ITEM.exec(lines[at] ?? '');
  const base = first?.[1]?.length ?? 0;
  const ordered = /\d/.test(first?.[2] ?? '');
  const items: string[][] = [];
  let i = at;
  for (; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const m = ITEM.exec(line);
    const next = lines[i + 1];
    if (m && (m[1]?.length ?? 0) <= base + 1) {
      if (/\d/.test(m[2] ?? '') !== ordered) break;
      items.push([m[3] ?? '']);
    } else if (line.trim() && (indent(line) > base || !m && lines[i - 1]?.trim() && !FENCE.test(line) && !HEADING.test(line))) {
      items[items.length - 1]?.push(line.slice(Math.min(indent(line), base + 2)));
    } else if (!line.trim() && next !== undefined && (indent(next) > base || ITEM.test(next) && indent(next) === base)) {
      items[items.length - 1]?.push('');
    } else break;
  }
  const inside = items.map((text) => <li>{text.length === 1 ? inline(text[0] ?? '') : blocks(text, depth + 1)}</li>);
  return [ordered ? <ol start={parseInt(first?.[2] ?? '1', 10)}>{inside}</ol> : <ul>{inside}</ul>, i];
}

function fenced(lines: string[], at: number): [VNode, number] {
  const [, pad = '', mark = '```', language = ''] = FENCE.exec(lines[at] ?? '') ?? [];
  let end = at + 1;
  while (end < lines.length && !(lines[end]?.trim().startsWith(mark) && /^(`+|~+)$/.test(lines[end]?.trim() ?? ''))) end++;
  const text = lines.slice(at + 1, end).map((l) => l.slice(Math.min(indent(l), pad.length))).join('\n');
  return [<Code text={text} language={language} />, end + 1];
}

function quote(lines: string[], at: number, depth: number): [VNode, number] {
  let end = at;
  while (end < lines.length && /^ {0,3}>/.test(lines[end] ?? '')) end++;
  return [<blockquote>{blocks(lines.slice(at, end).map((l) => l.replace(/^ {0,3}> ?/, '')), depth + 1)}</blockquote>, end];
}

const begins = (line: string) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || ITEM.test(line) || /^ {0,3}>/.test(line);

function paragraph(lines: string[], at: number): [VNode, number] {
  let end = at + 1;
  while (end < lines.length && lines[end]?.trim() && !begins(lines[end] ?? '')) end++;
  const text: ComponentChildren[] = [];
  lines.slice(at, end).forEach((l, i) => text.push(i ? '\n' : '', ...inline(l.trim())));
  return [<p>{text}</p>, end];
}

function blocks(lines: string[], depth = 0): ComponentChildren[] {
  if (depth > DEEP) return [<p>{lines.join('\n')}</p>];
  const out: ComponentChildren[] = [];
  for (let i = 0; i < lines.length;) {
    const line = lines[i] ?? '';
    let made: VNode;
    const heading = HEADING.exec(line);
    if (!line.trim()) { i++; continue; }
    if (FENCE.test(line)) [made, i] = fenced(lines, i);
    else if (heading) [made, i] = [<p class={`md-head md-head-${heading[1]?.length ?? 1}`}>{inline(heading[2] ?? '')}</p>, i + 1];
    else if (RULE.test(line)) [made, i] = [<hr />, i + 1];
    else if (/^ {0,3}>/.test(line)) [made, i] = quote(lines, i, depth);
    else if (ITEM.test(line)) [made, i] = list(lines, i, depth);
    else if (line.includes('|') && TABLE_LINE.test(lines[i + 1] ?? '')) [made, i] = table(lines, i);
    else [made, i] = paragraph(lines, i);
    out.push(made);
  }
  return out;
}

export function Markdown({ text }: { text: string }) {
  return <div class="markdown">{blocks(text.split('\n'))}</div>;
}
