// A schema, as the fields that it has; shared ones open where they are named.
import { useState } from 'preact/hooks';
import { seen, type Document, type Schema } from '../../api/openapi';

/** Text with `code` and **what counts** in it. */
export function Words({ text }: { text: string }) {
  const parts = text.split(/(`[^`]+`|\*\*[^*]+\*\*)/);
  return <>{parts.map((p) => (p.startsWith('`') ? <code>{p.slice(1, -1)}</code> : p.startsWith('**') ? <strong>{p.slice(2, -2)}</strong> : p))}</>;
}

const nameOf = (s: Schema) => s.$ref?.split('/').pop();

/** "text, one of a, b", "list of Machine", ... */
export function kind(s: Schema): string {
  if (s.$ref) return nameOf(s) ?? '';
  if (s.oneOf) return s.oneOf.map(kind).join(' or ');
  if (s.enum) return s.enum.map((v) => JSON.stringify(v)).join(' | ');
  const types = ([] as string[]).concat(s.type ?? 'any');
  const words = types.map((t) => (t === 'array' ? `list of ${kind(s.items ?? {})}` : t === 'string' && s.format ? s.format : t));
  const between = s.minimum !== undefined && s.maximum !== undefined ? ` ${s.minimum} to ${s.maximum}` : '';
  return words.join(' or ') + between;
}

// What lies beneath a field: the shared schema, or the object, that it is or is a list of.
function inside(s: Schema): Schema | null {
  if (s.$ref || s.properties) return s;
  if (s.items) return inside(s.items);
  const map = typeof s.additionalProperties === 'object' ? inside(s.additionalProperties) : null;
  return map ?? s.oneOf?.map(inside).find(Boolean) ?? null;
}

function Opened({ doc, label, schema, depth }: { doc: Document; label: string; schema: Schema; depth: number }) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{label}</summary>
      {open && <Fields doc={doc} schema={schema} depth={depth + 1} />}
    </details>
  );
}

export function Fields({ doc, schema, depth = 0 }: { doc: Document; schema: Schema; depth?: number }) {
  const is = seen(doc, schema);
  const names = Object.keys(is.properties ?? {}).sort();
  if (!names.length) {
    const beneath = inside(is);
    return beneath ? <Opened doc={doc} label={kind(is)} schema={beneath} depth={depth} /> : <p class="help">{kind(is)}</p>;
  }
  return (
    <dl class="fields">
      {names.map((name) => {
        const f = is.properties?.[name] ?? {};
        const beneath = inside(f);
        return (
          <div key={name}>
            <dt><code>{name}</code>{is.required?.includes(name) ? '' : ' (may be absent)'}</dt>
            <dd>
              {beneath ? <Opened doc={doc} label={kind(f)} schema={beneath} depth={depth} /> : <span class="soft">{kind(f)}</span>}
              {f.description && <small><Words text={f.description} /></small>}
            </dd>
          </div>
        );
      })}
    </dl>
  );
}
