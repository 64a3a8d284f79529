import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const repository = join(import.meta.dirname, '../..');
let folder: string;
let example: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-handler-types-'));
  await mkdir(join(folder, 'node_modules/@slipway'), { recursive: true });
  await symlink(join(repository, 'handler'), join(folder, 'node_modules/@slipway/handler'));
  const text = await readFile(join(repository, 'docs/handlers.md'), 'utf8');
  [, example = ''] = /```js\n(\/\/ @ts-check[\s\S]*?)```/.exec(text) ?? [];
});
afterAll(() => rm(folder, { recursive: true }));

/** What the compiler says of a handler, as somebody has it who is strict. */
async function problemsOf(handler: string): Promise<string> {
  await writeFile(join(folder, 'handler.mjs'), handler);
  const args = [
    '--noEmit',
    '--strict',
    '--checkJs',
    '--noUncheckedIndexedAccess',
    '--module',
    'nodenext',
    '--target',
    'esnext',
  ];
  const compiler = join(repository, 'node_modules/.bin/tsc');
  return promisify(execFile)(compiler, [...args, 'handler.mjs'], { cwd: folder }).then(
    () => '',
    ({ stdout }: { readonly stdout: string }) => stdout,
  );
}

test('a handler is checked by the types of its package, as the documentation says', async () => {
  expect(await problemsOf(example)).toBe('');
});

test.each([
  ['inputs', 'input', "is not assignable to type 'Prepared"],
  ['[row]', '[Symbol()]', "Type 'symbol' is not assignable"],
  ['request.json()', 'request.jason()', "Property 'jason' does not exist"],
  ['label?.data[0]', 'label?.value', "Property 'value' does not exist"],
])('%s as %s is told', async (right, wrong, message) => {
  expect(await problemsOf(example.replace(right, wrong))).toContain(message);
});
