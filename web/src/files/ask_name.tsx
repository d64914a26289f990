// A name that is typed in a dialog.
import { confirm } from '../ui/dialog';
import { Field } from '../ui/field';

interface Question {
  title: string;
  yes: string;
  name?: string;
  work: (name: string) => Promise<unknown>;
}

export function askName({ title, yes, name = '', work }: Question) {
  let said = name;
  confirm({
    title, yes,
    body: (
      <Field label="Name">
        {(a) => <input {...a} defaultValue={name} required autofocus autocomplete="off" spellcheck={false} pattern="[^\/]+" title="A name without a slash" onInput={(e) => { said = e.currentTarget.value; }} />}
      </Field>
    ),
    work: () => work(said),
  });
}
