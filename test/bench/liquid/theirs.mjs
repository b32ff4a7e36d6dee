// LiquidJS, for make bench-liquid. "--kinds" prints what is rendered, with what
// LiquidJS makes of it; otherwise each line "KIND COUNT" on stdin is answered
// by the seconds that rendering that kind so often took. A template is parsed
// once, by the same call that renderSync() of a parsed template expects.
import { createInterface } from 'node:readline';
import { Liquid } from 'liquidjs';
import { kinds } from './kinds.mjs';

const compiled = kinds.map((kind) => {
  const engine = new Liquid({ cache: true, templates: kind.partials, ...(kind.format === 'html' ? { outputEscape: 'escape' } : {}) });
  return { engine, template: engine.parse(kind.template), data: kind.data };
});

const render = ({ engine, template, data }) => engine.renderSync(template, data);

if (process.argv[2] === '--kinds') {
  const all = kinds.map((kind, i) => ({ ...kind, words: render(compiled[i]) }));
  process.stdout.write(JSON.stringify(all));
} else {
  createInterface({ input: process.stdin }).on('line', (line) => {
    const [kind, count] = line.split(' ').map(Number);
    const start = process.hrtime.bigint();
    let length = 0;
    for (let i = 0; i < count; i++) length += render(compiled[kind]).length;
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    process.stdout.write(`${seconds} ${length}\n`);
  });
}
