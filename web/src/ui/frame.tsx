// What stands around every page: the name, the navigation, who is signed in, dark and light.
import type { ComponentChildren } from 'preact';
import { connection } from '../api/events';
import { routes, type Route } from '../pages/routes';
import { me, signOut } from '../state/session';
import { theme, type Theme } from '../state/theme';
import { attempt } from './act';
import { Strip } from './strip';

const next: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
const themeWords: Record<Theme, string> = { system: 'Auto', light: 'Light', dark: 'Dark' };

function ThemeSwitch() {
  const t = theme.value;
  return (
    <button type="button" class="quiet" onClick={() => { theme.value = next[t]; }} aria-label={`Colours: ${themeWords[t]}. Change to ${themeWords[next[t]]}`}>
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        <circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.5" />
        <path d={t === 'light' ? '' : t === 'dark' ? 'M8 2a6 6 0 010 12A6 6 0 018 2z' : 'M8 2a6 6 0 010 12z'} fill="currentColor" />
      </svg>
      <span class="wide-only">{themeWords[t]}</span>
    </button>
  );
}

function Tabs({ path, admin }: { path: string; admin: boolean }) {
  const tabs = routes.filter((r) => r.tab && (r.who !== 'admin' || admin));
  const current = (r: Route) => path === r.path || (r.path !== '/dashboard' && path.startsWith(`${r.path}/`));
  return (
    <Strip class="tabs" label="Dashboard">
      {tabs.map((r) => <a key={r.path} href={r.path} aria-current={current(r) ? 'page' : undefined}>{r.tab}</a>)}
    </Strip>
  );
}

function Account({ path }: { path: string }) {
  const user = me.value;
  if (!user) return user === null && path !== '/auth/login' ? <a class="button" href="/auth/login">Sign in</a> : null;
  return (
    <>
      <span class="who wide-only" title={user.email}>{user.email}</span>
      <button type="button" class="quiet" onClick={() => attempt(signOut)}>Sign out</button>
    </>
  );
}

// Without a change of the address: what stands behind its # may be what the page is about (pages/watch.tsx).
function skip(e: Event) {
  e.preventDefault();
  document.getElementById('main')?.focus();
}

export function Frame({ route, path, children }: { route: Route | undefined; path: string; children: ComponentChildren }) {
  const user = me.value;
  const inside = path.startsWith('/dashboard') && Boolean(user);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to the content</a>
      <header class="bar">
        <a class="brand" href={user ? '/dashboard' : '/'}>
          <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
            <rect width="32" height="32" rx="7" class="brand-back" />
            <path d="M8 11l5 5-5 5M16 21h8" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round" />
          </svg>
          cchost
        </a>
        {inside && user ? <Tabs path={path} admin={user.role === 'admin'} /> : <span class="grow" />}
        <div class="bar-end"><ThemeSwitch /><Account path={path} /></div>
      </header>
      {connection.value === 'lost' && <p class="banner" role="status">The connection to the server is gone. What you see may be old; it is tried again by itself.</p>}
      <main id="main" tabIndex={-1} class={route?.wide ? 'wide' : undefined}>{children}</main>
    </>
  );
}
