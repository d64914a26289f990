import type { ApiError } from '../api/client';
import { hint } from '../api/errors';

const sentence = (text: string) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? '' : '.');

/** What went wrong, and what to do. */
export function ErrorText({ error }: { error: ApiError }) {
  const h = hint(error);
  return (
    <>
      {sentence(error.message)}
      {h && <> {h.text}</>}
      {h?.link && <> <a href={h.link.to}>{h.link.text}</a></>}
    </>
  );
}

export function ErrorBox({ error, retry }: { error: ApiError; retry?: () => void }) {
  return (
    <div class="error-box" role="alert">
      <p><ErrorText error={error} /></p>
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}
