// A form's field: its name, what is entered, what it is about, and what was wrong with it.
import type { ComponentChildren } from 'preact';
import { useEffect, useId } from 'preact/hooks';
import type { ApiError } from '../api/client';

interface FieldProps {
  label: string;
  /** The API's name of it: an error that names it is told here. */
  name?: string;
  help?: ComponentChildren;
  error?: ApiError | null;
  children: (attributes: { id: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean | undefined }) => ComponentChildren;
}

// The API begins with the field's name, which stands above it here.
function said(message: string, name = '') {
  const text = message.startsWith(`${name}: `) ? message.slice(name.length + 2) : message;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function Field({ label, name, help, error, children }: FieldProps) {
  const id = useId();
  const wrong = error && name && error.field === name ? error : null;
  // Its own button may be far below: one is led to what is wrong.
  useEffect(() => { if (wrong) document.getElementById(id)?.focus(); }, [wrong]);
  const about = [help ? `${id}-help` : '', wrong ? `${id}-wrong` : ''].filter(Boolean).join(' ') || undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, 'aria-describedby': about, 'aria-invalid': wrong ? true : undefined })}
      {help && <p id={`${id}-help`} class="help">{help}</p>}
      {wrong && <p id={`${id}-wrong`} class="wrong">{said(wrong.message, name)}</p>}
    </div>
  );
}
