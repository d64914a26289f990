// xterm.js writes style attributes and style elements, which our page's policy does not allow. What it does there can be
// said otherwise: attributes through the object model, elements as sheets that the document adopts (src/terminal/sheet.ts).
// A version of it that says it in other words fails the build.
import fs from 'node:fs';

const changes = [
  [/(\w+)\.setAttribute\("style",/g, 1, '$1.style.cssText=('],
  [/[\w.]+\.createElement\("style"\)/g, 3, 'globalThis.cchostSheet()'],
];

export const strictStyles = {
  name: 'strict-styles',
  setup(build) {
    build.onLoad({ filter: /@xterm[/\\]xterm[/\\]lib[/\\]xterm\.mjs$/ }, (args) => {
      let contents = fs.readFileSync(args.path, 'utf8');
      for (const [pattern, times, to] of changes) {
        const found = contents.match(pattern)?.length ?? 0;
        if (found !== times) return { errors: [{ text: `${pattern} is there ${found} times, not ${times}` }] };
        contents = contents.replace(pattern, to);
      }
      return { contents, loader: 'js' };
    });
  },
};
