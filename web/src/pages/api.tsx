// /docs/api: what GET /openapi.json says, for people: every route, found by its words.
import { useState } from 'preact/hooks';
import type { Document, Operation } from '../api/openapi';
import { ErrorBox } from '../ui/error';
import { Field } from '../ui/field';
import { useRemote } from '../ui/remote';
import { OperationOf } from './api/operation';
import { Words } from './api/schema';

interface Row { method: string; path: string; op: Operation }

function rowsOf(doc: Document): Row[] {
  return Object.entries(doc.paths).flatMap(([path, item]) => Object.entries(item).map(([method, op]) => ({ method: method.toUpperCase(), path, op })));
}

// All words, in any order.
function fits(row: Row, asked: string) {
  const text = `${row.method} ${row.path} ${row.op.summary} ${row.op.description}`.toLowerCase();
  return asked.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

export default function ApiPage() {
  const { value: doc, error, load } = useRemote<Document>('/openapi.json');
  const [asked, setAsked] = useState('');
  if (error) return <ErrorBox error={error} retry={load} />;
  if (!doc) return <p class="loading">The description is on its way</p>;
  const rows = rowsOf(doc).filter((row) => fits(row, asked));
  const groups = doc.tags.map((tag) => ({ ...tag, rows: rows.filter((r) => r.op.tags[0] === tag.name) })).filter((g) => g.rows.length > 0);
  return (
    <div class="column">
      <h1>The API</h1>
      <p class="lead"><Words text={doc.info.description.split('\n\n')[0] ?? ''} /></p>
      <p>For programs: <a href="/openapi.json" target="_blank" rel="noreferrer">/openapi.json</a>, OpenAPI 3.1. Version {doc.info.version}.</p>
      <Field label="Find a route">
        {(attributes) => <input {...attributes} type="search" value={asked} onInput={(e) => setAsked(e.currentTarget.value)} />}
      </Field>
      <p class="help" role="status">{rows.length} {rows.length === 1 ? 'route' : 'routes'}</p>
      {groups.map((g) => (
        <section key={g.name} class="card" aria-label={g.name}>
          <h2>{g.name}</h2>
          <p class="help">{g.description}</p>
          <div>{g.rows.map((r) => <OperationOf key={r.op.operationId} doc={doc} {...r} />)}</div>
        </section>
      ))}
    </div>
  );
}
