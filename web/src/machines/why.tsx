// A policy's decision, taken again and explained: the sentence, the smallest changes that would have turned it, and the line.
import { useState } from 'preact/hooks';
import type { ApiError } from '../api/client';
import { ErrorBox } from '../ui/error';
import { exactly } from '../ui/format';
import { useRemote } from '../ui/remote';

/** GET /instances/{id}/decisions?at=. */
export interface Decision {
  kind: string;
  name: string;
  at: string;
  verdict: string;
  reason: string | null;
  generation: number;
  file?: string;
  line?: number;
  source?: string | null;
  inputs?: Record<string, unknown>;
  read?: string[];
  flips?: { field: string; verdict: string; reason: string | null; text: string }[];
  text?: string;
  failed?: string;
  note?: string;
}

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? '' : '.');

// A time among what a policy is told is in unix seconds, and called so.
function shown(name: string, value: unknown) {
  if (value === null || value === undefined) return 'none';
  if (typeof value === 'number' && /(_at|_until|^since)$/.test(name) && value > 1e9) return exactly(new Date(value * 1000).toISOString());
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function Inputs({ decision: d }: { decision: Decision }) {
  const read = new Set(d.read ?? []);
  const names = [...new Set([...read, ...Object.keys(d.inputs ?? {})])].sort((a, b) => Number(read.has(b)) - Number(read.has(a)) || (a < b ? -1 : 1));
  if (!names.length) return null;
  return (
    <details>
      <summary>What it was told</summary>
      <div class="scroll why-inputs" tabIndex={0} role="region" aria-label="What the policy was told">
        <table>
          <thead><tr><th scope="col">Name</th><th scope="col">Value</th><th scope="col">Looked at</th></tr></thead>
          <tbody>{names.map((n) => <tr key={n}><th scope="row">{n.replace(/_/g, ' ')}</th><td>{shown(n, d.inputs?.[n])}</td><td>{read.has(n) ? 'yes' : ''}</td></tr>)}</tbody>
        </table>
      </div>
    </details>
  );
}

export function Explained({ decision: d }: { decision: Decision }) {
  return (
    <div class="why">
      <p><strong>{sentence(d.reason || d.verdict)}</strong> <small>The policy said “{d.verdict}”, {exactly(d.at)}.</small></p>
      {d.text && <p class="why-flip">{d.text.startsWith('would') ? `It ${d.text}.` : sentence(d.text)}</p>}
      {d.flips && d.flips.length > 1 && <ul class="ticks">{d.flips.map((f) => <li key={f.field}>{f.text}: {f.verdict}{f.reason ? `, ${f.reason}` : ''}</li>)}</ul>}
      {d.failed && <p>The policy failed, and the safe answer was given: {d.failed}</p>}
      {d.note && <p class="help">{sentence(d.note)}</p>}
      {d.file && <p class="help">Decided by generation {d.generation} of the policies, <code>{d.file}:{d.line ?? 1}</code></p>}
      {d.source && <pre class="why-source" tabIndex={0}><code>{d.source.trim()}</code></pre>}
      <Inputs decision={d} />
    </div>
  );
}

/** `at`: a time, or "stop": what stopped it. */
export function Why({ machine, at, kind, none }: { machine: string; at: string; kind?: string | undefined; none?: (e: ApiError) => string | null }) {
  const [asked] = useState(`/instances/${machine}/decisions?at=${encodeURIComponent(at)}${kind ? `&kind=${kind}` : ''}`);
  const { value, error, load } = useRemote<Decision>(asked);
  const said = error && none?.(error);
  if (said) return <p>{said}</p>;
  if (error) return <ErrorBox error={error} retry={load} />;
  return value ? <Explained decision={value} /> : <p class="loading" role="status">The decision is taken again…</p>;
}
