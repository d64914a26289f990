// Every page that there is: its address, its title, and the file that shows it, which is loaded when it is first opened.
// A page exports `default`, a component of PageProps. What has a `tab` stands in the navigation, in this order.
import type { ComponentType } from 'preact';

export interface PageProps {
  /** What the address has in place of the pattern's {names}. */
  values: Record<string, string>;
}

export interface Route {
  path: string;
  title: string;
  load: () => Promise<{ default: ComponentType<PageProps> }>;
  /** For whom: anybody, or who is signed in (the default), or an admin. */
  who?: 'anybody' | 'admin';
  tab?: string;
  /** The page takes all of the window's width and height, as a terminal does. */
  wide?: boolean;
}

export const routes: Route[] = [
  { path: '/', title: 'Development machines that stop when you do', load: () => import('./landing'), who: 'anybody' },
  { path: '/auth/login', title: 'Sign in', load: () => import('./login'), who: 'anybody' },
  { path: '/help/claude', title: 'Claude Code on a machine', load: () => import('./claude_help'), who: 'anybody' },
  { path: '/docs/api', title: 'The API', load: () => import('./api'), who: 'anybody' },
  { path: '/dashboard', title: 'Machines', tab: 'Overview', load: () => import('./overview') },
  { path: '/dashboard/new', title: 'New machine', load: () => import('./create') },
  { path: '/dashboard/machines/{machine}', title: 'Machine', load: () => import('./machine') },
  { path: '/dashboard/terminal', title: 'Terminal', tab: 'Terminal', load: () => import('./terminal'), wide: true },
  { path: '/dashboard/watch', title: 'A terminal', load: () => import('./watch'), who: 'anybody', wide: true },
  { path: '/dashboard/chat', title: 'Chat', tab: 'Chat', load: () => import('./chat'), wide: true },
  { path: '/dashboard/projects', title: 'Projects', tab: 'Projects', load: () => import('./projects') },
  { path: '/dashboard/files', title: 'Files', tab: 'Files', load: () => import('./files') },
  { path: '/dashboard/billing', title: 'Billing', tab: 'Billing', load: () => import('./billing') },
  { path: '/dashboard/activity', title: 'Activity', tab: 'Activity', load: () => import('./activity') },
  { path: '/dashboard/settings', title: 'Settings', tab: 'Settings', load: () => import('./settings') },
  { path: '/dashboard/admin', title: 'Fleet', tab: 'Admin', load: () => import('./admin'), who: 'admin' },
  { path: '/dashboard/admin/users', title: 'Users', load: () => import('./admin/users'), who: 'admin' },
  { path: '/dashboard/admin/providers', title: 'Providers', load: () => import('./admin/providers'), who: 'admin' },
  { path: '/dashboard/admin/orphans', title: 'Orphans', load: () => import('./admin/orphans'), who: 'admin' },
  { path: '/dashboard/admin/policies', title: 'Policies', load: () => import('./admin/policies'), who: 'admin' },
  { path: '/dashboard/admin/policies/{file}', title: 'Policy', load: () => import('./admin/policy'), who: 'admin' },
];
