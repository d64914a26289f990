// A client that is made of the description: what it says of a route is what TypeScript knows of it. tests/openapi/client.test.js
// checks the types and runs it.
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

type Machine = components['schemas']['Machine'];

function must<T>(data: T | undefined, error: unknown): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

export async function use(baseUrl: string, key: string): Promise<string[]> {
  // of a list with `fields` the answer is another media type: here the whole records
  const client = createClient<paths, 'application/json'>({ baseUrl, headers: { 'X-API-Key': key } });
  const made = await client.POST('/instances', { params: { query: { wait: 30 } }, body: { name: 'typed', labels: { by: 'types' }, ports: [3000] } });
  const machine: Machine = must(made.data, made.error);
  const status: 'RUNNING' | 'STARTING' | 'STOPPING' | 'STOPPED' | 'ERROR' | 'DELETING' | 'DELETED' = machine.status;

  const list = await client.GET('/instances', { params: { query: { sort: '-created_at', limit: 1, label: 'by=types' } } });
  const names: string[] = must(list.data, list.error).map((m) => m.name);

  const run = await client.POST('/instances/{id}/exec', { params: { path: { id: machine.id } }, body: { cmd: ['true'] } });
  const code: number = must(run.data, run.error).exit;

  const none = await client.GET('/instances/{id}', { params: { path: { id: 'nobody' } } });
  const why: components['schemas']['Error']['code'] | undefined = none.error?.code;

  const gone = await client.DELETE('/instances/{id}', { params: { path: { id: machine.id } } });
  return [status, ...names, String(code), String(why), must(gone.data, gone.error).status];
}

// What the description does not have is no TypeScript.
export function wrong(baseUrl: string) {
  const client = createClient<paths>({ baseUrl });
  // @ts-expect-error no such route
  void client.GET('/machines');
  // @ts-expect-error a name is text
  void client.POST('/instances', { body: { name: 1 } });
  // @ts-expect-error hours are needed
  void client.POST('/instances/{id}/extend', { params: { path: { id: 'x' } }, body: {} });
  // @ts-expect-error no such order
  void client.GET('/instances', { params: { query: { sort: 'nonsense' } } });
}
