/**
 * Makes the modules of src/protocol/generated from the .wat files of src/protocol. With --check it only says whether they
 * are current.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import wabt from 'wabt';
import { bringUpToDate } from './generated-file.ts';

const folder = join(import.meta.dirname, 'src/protocol');
const { parseWat } = await wabt();

for (const [name, constant] of [
  ['plain-numbers', 'plainNumbersModule'],
  ['float-texts', 'floatTextsModule'],
] as const) {
  const source = `${name}.wat`;
  const module = parseWat(source, readFileSync(join(folder, source), 'utf8'), { bulk_memory: true });
  module.validate();
  const bytes = Buffer.from(module.toBinary({}).buffer).toString('base64');
  const text = `/** Made by inference-pod/assemble.ts from ${source}: the module, in base64. */
export const ${constant} =
  '${bytes}';
`;
  bringUpToDate(join(folder, 'generated', `${name}.ts`), text, source);
}
