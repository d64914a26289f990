// Dark or light: as the system has it, unless it was said otherwise here.
import { signal } from '@preact/signals';

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'cchost.theme';

function kept(): Theme {
  try {
    const v = localStorage.getItem(KEY);
    return v === 'light' || v === 'dark' ? v : 'system';
  } catch { return 'system'; }
}

export const theme = signal<Theme>(kept());

theme.subscribe((t) => {
  if (t === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
  try {
    if (t === 'system') localStorage.removeItem(KEY); else localStorage.setItem(KEY, t);
  } catch { /* it holds for this page */ }
});
