// The files of a machine, beneath the folder that is kept.
import type { Machine } from '../api/types';
import { Browser } from '../files/browser';
import { Editor } from '../files/editor';
import { parent, steps } from '../files/model';
import { to, value } from '../work/place';
import { ROOT } from '../work/projects';
import { Awake } from '../work/awake';
import { Work } from '../work/work';

function Path({ machine, path }: { machine: Machine; path: string }) {
  const all = steps(path);
  return (
    <nav class="path" aria-label="Folder">
      {all.map((s, i) => (i === all.length - 1
        ? <span key={s.path} aria-current="page">{s.name}</span>
        : <span key={s.path}><a href={to('files', machine, { path: s.path })}>{s.name}</a> <span aria-hidden="true">/</span> </span>))}
    </nav>
  );
}

export default function FilesPage() {
  const said = value('path') ?? ROOT;
  const path = (said === ROOT || said.startsWith(`${ROOT}/`) ? said : ROOT).replace(/(.)\/+$/, '$1');
  const file = value('file') !== null;
  const folder = file ? parent(path) : path;
  return (
    <Work page="files" title="Files" tools={(m) => (
      <div class="work-tools"><a class="button small" href={to('terminal', m, { cwd: folder })}>Terminal here</a><a class="button small" href={to('chat', m, { cwd: folder })}>Chat here</a></div>
    )}>
      {(m) => (
        <Awake machine={m}>
          <Path machine={m} path={path} />
          {file ? <Editor key={`${m.id} ${path}`} machine={m} path={path} /> : <Browser key={`${m.id} ${path}`} machine={m} path={path} />}
        </Awake>
      )}
    </Work>
  );
}
