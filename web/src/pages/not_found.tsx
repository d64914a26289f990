import { me } from '../state/session';

export function NotFound() {
  return (
    <section class="narrow">
      <h1>There is no such page</h1>
      <p>The address may be mistyped, or what it showed may be gone.</p>
      <p><a class="button" href={me.value ? '/dashboard' : '/'}>{me.value ? 'To your machines' : 'To the beginning'}</a></p>
    </section>
  );
}
