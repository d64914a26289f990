// Numbers, money and times as people read them: in the browser's language and zone.

/** Micro-units of a currency. */
export function money(micro: number, currency = 'USD', digits = 2) {
  return new Intl.NumberFormat(undefined, {
    style: 'currency', currency, currencyDisplay: 'narrowSymbol', minimumFractionDigits: digits, maximumFractionDigits: Math.max(digits, 4),
  }).format(micro / 1e6);
}

/** An exact decimal, as the API tells amounts. */
export function amount(text: string, currency = 'USD') {
  return new Intl.NumberFormat(undefined, { style: 'currency', currency, currencyDisplay: 'narrowSymbol', maximumFractionDigits: 4 }).format(Number(text));
}

export const hours = (n: number) => `${n < 10 ? n.toFixed(1).replace(/\.0$/, '') : Math.round(n)} h`;

/** "2 hours", of seconds. */
export function duration(seconds: number) {
  const [n, unit] = seconds % 86400 === 0 ? [seconds / 86400, 'day'] : seconds % 3600 === 0 ? [seconds / 3600, 'hour'] : [Math.round(seconds / 60), 'minute'];
  return `${n} ${unit}${n === 1 ? '' : 's'}`;
}

export function memory(mib: number) { return mib >= 1024 ? `${mib / 1024} GiB` : `${mib} MiB`; }

const long = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

export const exactly = (at: string) => long.format(new Date(at));

/** "14:05" of today, else "Nov 3, 14:05". */
export function moment(at: string) {
  const d = new Date(at);
  const today = d.toDateString() === new Date().toDateString();
  return today ? clock.format(d) : `${day.format(d)}, ${clock.format(d)}`;
}

const steps: [number, Intl.RelativeTimeFormatUnit][] = [[86400, 'day'], [3600, 'hour'], [60, 'minute']];
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

/** "5 minutes ago", "in 2 hours". */
export function ago(at: string, now = Date.now()) {
  const seconds = (Date.parse(at) - now) / 1000;
  for (const [size, unit] of steps) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return 'just now';
}
