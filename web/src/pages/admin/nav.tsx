// What stands above every page of an admin's.
import type { ComponentChildren } from 'preact';
import { place } from '../../router';
import { Strip } from '../../ui/strip';

const pages: [string, string][] = [['/dashboard/admin', 'Fleet'], ['/dashboard/admin/users', 'Users'], ['/dashboard/admin/providers', 'Providers'],
  ['/dashboard/admin/orphans', 'Orphans'], ['/dashboard/admin/policies', 'Policies']];

export function Admin({ title, children }: { title: string; children: ComponentChildren }) {
  const at = place.value.path;
  return (
    <div class="admin">
      <Strip class="subtabs" label="Administration">
        {pages.map(([to, text]) => <a key={to} href={to} aria-current={at === to || to !== '/dashboard/admin' && at.startsWith(`${to}/`) ? 'page' : undefined}>{text}</a>)}
      </Strip>
      <h1>{title}</h1>
      {children}
    </div>
  );
}
