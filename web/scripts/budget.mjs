// What the first view costs: the compressed bytes of the application's script and of everything it imports
// before it can run, and of the page that opens first. Fails beyond the budget.
import { readFileSync, existsSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const BUDGET = 250_000;
const dist = new URL('../dist/', import.meta.url);
const manifest = new URL('.vite/manifest.json', dist);
if (!existsSync(manifest)) {
  console.error('there is no build: run `npm run build` first');
  process.exit(1);
}
const chunks = JSON.parse(readFileSync(manifest, 'utf8'));
const seen = new Set();
function add(key) {
  if (seen.has(key)) return;
  seen.add(key);
  for (const imported of chunks[key].imports ?? []) add(imported);
}
for (const key of ['index.html', 'src/Shell.svelte', 'src/pages/now/Now.svelte']) if (chunks[key]) add(key);

const sizes = [...seen].map((key) => ({ file: chunks[key].file, bytes: gzipSync(readFileSync(new URL(chunks[key].file, dist))).length })).sort((a, b) => b.bytes - a.bytes);
const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
for (const { file, bytes } of sizes.slice(0, 8)) console.log(`${(bytes / 1000).toFixed(1).padStart(7)} kB  ${file}`);
console.log(`${(total / 1000).toFixed(1).padStart(7)} kB  scripts of the first view, compressed; the budget is ${BUDGET / 1000} kB`);
if (total > BUDGET) {
  console.error('the first view costs too much: load what it does not need when it is opened');
  process.exit(1);
}
