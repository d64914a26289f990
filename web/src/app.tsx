// From an address to its page: who may see it, what its title is, and what is shown while it is loaded.
import { signal, type ReadonlySignal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { api, ApiError } from './api/client';
import { NotFound } from './pages/not_found';
import { routes, type PageProps, type Route } from './pages/routes';
import { go, match, takeLinks, type Place } from './router';
import { me, problem, refresh, takeWanted, wantTo } from './state/session';
import { attempt } from './ui/act';
import { ErrorBox } from './ui/error';
import { Frame } from './ui/frame';
import { Toasts } from './ui/toast';
import { DialogHost } from './ui/dialog';

function find(path: string): { route: Route; values: Record<string, string> } | null {
  for (const route of routes) {
    const values = match(route.path, path);
    if (values) return { route, values };
  }
  return null;
}

takeLinks((path) => find(path) !== null);

// ---- the pages' files

const loaded = signal(new Map<Route, ComponentType<PageProps>>());
const failed = signal<ApiError | null>(null);

// A file that is gone is of an older version of the page: that one is loaded again, once. While the server is away that would be
// the end of what is open here.
const RELOADED = 'cchost.reloaded';
async function reloadOnce() {
  try {
    await api('GET', '/healthz');
    if (Date.now() - Number(sessionStorage.getItem(RELOADED)) < 30e3) return false;
    sessionStorage.setItem(RELOADED, String(Date.now()));
  } catch { return false; }
  location.reload();
  return true;
}

async function load(route: Route) {
  try {
    const file = await route.load();
    failed.value = null;
    loaded.value = new Map(loaded.value).set(route, file.default);
  } catch (e) {
    if (!await reloadOnce()) failed.value = new ApiError('This page could not be loaded.', 'offline');
  }
}

// ---- who may see it

// -> where to go instead, or null
function elsewhere(route: Route, place: Place): string | null {
  const user = me.value;
  if (route.who !== 'anybody' && user === null) {
    wantTo(place.path + (place.query.size ? `?${place.query}` : ''));
    return '/auth/login';
  }
  if (!user) return null;
  if (route.path === '/auth/login') return takeWanted() ?? '/dashboard';
  if (route.path === '/dashboard') { // Stripe's pages send back to there
    return place.query.has('checkout') ? `/dashboard/billing?checkout=${encodeURIComponent(place.query.get('checkout') ?? '')}` : takeWanted();
  }
  return null;
}

function View({ place }: { place: Place }) {
  const found = find(place.path);
  const route = found?.route;
  const user = me.value;
  const to = route ? elsewhere(route, place) : null;
  const Page = route && loaded.value.get(route);
  useEffect(() => { if (to !== null) go(to, { replace: true }); }, [to]);
  useEffect(() => { if (route && !loaded.value.has(route)) void load(route); }, [route]);

  if (!found || (route?.who === 'admin' && user && user.role !== 'admin')) return <NotFound />;
  if (to !== null) return null;
  if (route?.who !== 'anybody' && user === undefined) {
    return problem.value ? <ErrorBox error={problem.value} retry={refresh} /> : null;
  }
  if (Page) return <Page values={found.values} />;
  return failed.value ? <ErrorBox error={failed.value} retry={() => attempt(async () => { await api('GET', '/healthz'); location.reload(); })} /> : null;
}

// The title, and the focus at the page's beginning, so that who does not see it is told where he is.
function useArrival(path: string, title: string) {
  const first = useRef(true);
  useEffect(() => {
    document.title = `${title} · cchost`;
    if (!first.current) document.querySelector<HTMLElement>('main')?.focus({ preventScroll: true });
    first.current = false;
  }, [path, title]);
}

export function App({ place }: { place: ReadonlySignal<Place> }) {
  const at = place.value;
  const route = find(at.path)?.route;
  useArrival(at.path, route?.title ?? 'Not found');
  return (
    <>
      <Frame route={route} path={at.path}><View key={at.path} place={at} /></Frame>
      <DialogHost />
      <Toasts />
    </>
  );
}
