// The projects on a machine: folders with a repository in them.
import type { Machine } from '../api/types';
import { ErrorBox } from '../ui/error';
import { toast } from '../ui/toast';
import { useNarrow } from '../ui/narrow';
import { VirtualList } from '../ui/virtual_list';
import { Awake } from '../work/awake';
import { Clone } from '../work/clone';
import { to } from '../work/place';
import { useProjects, type Project } from '../work/projects';
import { Work } from '../work/work';

function Row({ machine: m, project: p }: { machine: Machine; project: Project }) {
  return (
    <div class="project">
      <div><strong>{p.name}</strong><small title={p.remoteUrl ?? p.path}>{p.remoteUrl ?? p.path}</small></div>
      <div class="buttons" role="group" aria-label={`Open ${p.name}`}>
        <a class="button primary" href={to('chat', m, { cwd: p.path })}>Chat</a>
        <a class="button" href={to('terminal', m, { cwd: p.path })}>Terminal</a>
        <a class="button" href={to('files', m, { path: p.path })}>Files</a>
      </div>
    </div>
  );
}

function Projects({ machine: m }: { machine: Machine }) {
  const { list, error, load } = useProjects(m);
  const narrow = useNarrow();
  return (
    <>
      <Clone machine={m} done={(p) => { toast.say(`${p.name} is there.`); void load(); }} />
      {error && <ErrorBox error={error} retry={load} />}
      {!list && !error && <p class="loading" role="status">Loading…</p>}
      {list && !list.length && <div class="empty"><h2>No project yet</h2><p>Clone one above, or make one in a terminal: any folder with a repository in it is one.</p></div>}
      {list && list.length > 0 && <VirtualList items={list} label="Projects" rowHeight={narrow ? 121 : 69} keyOf={(p) => p.path} row={(p) => <Row machine={m} project={p} />} />}
    </>
  );
}

export default function ProjectsPage() {
  return <Work page="projects" title="Projects">{(m) => <Awake machine={m}><Projects key={m.id} machine={m} /></Awake>}</Work>;
}
