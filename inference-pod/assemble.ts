/**
 * Makes src/protocol/generated/plain-numbers.ts from src/protocol/plain-numbers.wat. With --check it only says whether it
 * is current.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import wabt from 'wabt';
import { bringUpToDate } from './generated-file.ts';

const folder = join(import.meta.dirname, 'src/protocol');
const target = join(folder, 'generated/plain-numbers.ts');

const module = (await wabt()).parseWat('plain-numbers.wat', readFileSync(join(folder, 'plain-numbers.wat'), 'utf8'));
module.validate();
const bytes = Buffer.from(module.toBinary({}).buffer).toString('base64');
const text = `/** Made by inference-pod/assemble.ts from plain-numbers.wat: the module, in base64. */
export const plainNumbersModule =
  '${bytes}';
`;

bringUpToDate(target, text, 'plain-numbers.wat');
