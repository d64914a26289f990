// The focus is never lost: when what has it is taken away (a button that has done its work, a row that is deleted, one that is
// scrolled out of a list of thousands), it goes to the nearest of what was around it that is still there.

// The element that has, or had, the focus, and all around it.
let chain: Element[] = [];

function around(start: Element | null): Element[] {
  const all: Element[] = [];
  for (let e = start; e && e !== document.body; e = e.parentElement) all.push(e);
  return all;
}

// One that takes no focus by itself does so this once: a Tab goes on from there.
function focusOn(e: HTMLElement) {
  e.focus({ preventScroll: true });
  if (document.activeElement === e) return;
  e.tabIndex = -1;
  e.focus({ preventScroll: true });
  e.addEventListener('blur', () => e.removeAttribute('tabindex'), { once: true });
}

function nearest(of: Element[]) {
  const main = document.querySelector<HTMLElement>('main');
  const there = of.find((e) => e.isConnected);
  const near = there && main?.contains(there) ? there : main;
  if (near instanceof HTMLElement) focusOn(near);
}

/** -> what brings the focus back to where it is now, or near to it */
export function remember(): () => void {
  const was = around(document.activeElement);
  return () => { if (was.length) nearest(was); };
}

/** From the page's beginning on. */
export function keepFocus() {
  document.addEventListener('focusin', (e) => { chain = around(e.target as Element); });
  document.addEventListener('focusout', (e) => setTimeout(() => { // left for nothing, as by a click beside it: that is not lost
    if (document.activeElement === document.body && (e.target as Element).isConnected) chain = [];
  }));
  new MutationObserver(() => {
    const [had] = chain;
    if (!had || had.isConnected || document.activeElement !== document.body || document.querySelector('dialog')) return;
    const was = chain;
    chain = [];
    if (!was.some((e) => e.tagName === 'DIALOG')) nearest(was); // a dialog brings it back by itself
  }).observe(document.body, { childList: true, subtree: true });
}
