// One route: closed a line, open all that is said of it, and a command that tries it.
import { useState } from 'preact/hooks';
import { seen, type Answer, type Document, type Operation } from '../../api/openapi';
import { Copy } from '../../ui/copy';
import { Fields, kind, Words } from './schema';

const quoted = (text: string) => `'${text.replace(/'/g, "'\\''")}'`;

function command(method: string, path: string, op: Operation) {
  const words = ['curl'];
  if (method !== 'GET') words.push('-X', method);
  if (op.security.length) words.push('-H "Authorization: Bearer $TOKEN"');
  const example = op.requestBody?.content['application/json']?.example;
  if (example !== undefined) words.push('-d', quoted(JSON.stringify(example)));
  words.push(quoted(location.origin + path));
  return words.join(' ');
}

function AnswerOf({ doc, status, answer }: { doc: Document; status: string; answer: Answer }) {
  const is = seen(doc, answer);
  const content = Object.entries(is.content ?? {});
  const good = Number(status) < 400;
  return (
    <div>
      <dt><code>{status}</code></dt>
      <dd>
        {is.description}
        {good && content.map(([media, c]) => (
          <div key={media}>
            <small>{media}{media === 'application/json' && `: ${kind(c.schema)}`}</small>
            {media === 'application/json' && <Fields doc={doc} schema={c.schema} />}
          </div>
        ))}
      </dd>
    </div>
  );
}

function Told({ doc, method, path, op }: { doc: Document; method: string; path: string; op: Operation }) {
  const parameters = (op.parameters ?? []).map((p) => seen(doc, p));
  const body = Object.entries(op.requestBody?.content ?? {});
  return (
    <div class="told">
      {op.description.split('\n\n').map((text, i) => <p key={i}><Words text={text} /></p>)}
      {parameters.length > 0 && (
        <>
          <h3>Parameters</h3>
          <dl class="fields">
            {parameters.map((p) => (
              <div key={p.in + p.name}>
                <dt><code>{p.name}</code> <small>{p.in}</small></dt>
                <dd><span class="soft">{kind(p.schema)}</span>{p.description && <small><Words text={p.description} /></small>}</dd>
              </div>
            ))}
          </dl>
        </>
      )}
      {body.map(([media, c]) => (
        <div key={media}>
          <h3>Body <small>{media}</small></h3>
          {c.schema.properties && <Fields doc={doc} schema={c.schema} />}
        </div>
      ))}
      <h3>Answers</h3>
      <dl class="fields">{Object.entries(op.responses).map(([status, a]) => <AnswerOf key={status} doc={doc} status={status} answer={a} />)}</dl>
      {op.responses['101'] ? null : <Copy text={command(method, path, op)} what={`a command for ${method} ${path}`} />}
    </div>
  );
}

export function OperationOf({ doc, method, path, op }: { doc: Document; method: string; path: string; op: Operation }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="operation" id={op.operationId} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary><b class={`method ${method.toLowerCase()}`}>{method}</b> <code>{path}</code> <span>{op.summary}</span></summary>
      {open && <Told doc={doc} method={method} path={path} op={op} />}
    </details>
  );
}
