/**
 * Makes src/protocol/generated/plain-numbers.ts from src/protocol/plain-numbers.wat. With --check it only says whether it
 * is current.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import wabt from 'wabt';

const folder = join(import.meta.dirname, 'src/protocol');
const target = join(folder, 'generated/plain-numbers.ts');

const module = (await wabt()).parseWat('plain-numbers.wat', readFileSync(join(folder, 'plain-numbers.wat'), 'utf8'));
module.validate();
const bytes = Buffer.from(module.toBinary({}).buffer).toString('base64');
const text = `/** Made by inference-pod/assemble.ts from plain-numbers.wat: the module, in base64. */
export const plainNumbersModule =
  '${bytes}';
`;

const current = (() => {
  try {
    return readFileSync(target, 'utf8');
  } catch {
    return undefined;
  }
})();
if (current !== text) {
  if (process.argv.includes('--check')) {
    console.error('src/protocol/generated does not match plain-numbers.wat: run npm run generate');
    process.exitCode = 1;
  } else writeFileSync(target, text);
}
