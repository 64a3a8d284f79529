import { execFile, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const execute = promisify(execFile);

/** The plugin beside a kubectl that answers oddly. */
const main = join(import.meta.dirname, 'main.ts');
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-cli-'));
  const kubectl = `#!${process.execPath}
const args = process.argv.slice(2);
const { MODEL = '{}', ITEMS = '[]' } = process.env;
if (args.includes('annotate')) console.log('annotated ' + args.at(-1));
else if (args.includes('pods') || args.includes('events')) console.log('{"items":' + ITEMS + '}');
else process.stdout.write(MODEL);
`;
  await writeFile(join(directory, 'kubectl'), kubectl);
  await chmod(join(directory, 'kubectl'), 0o755);
});
afterAll(() => rm(directory, { recursive: true }));

async function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const env = { ...process.env, ...environment, KUBECTL: join(directory, 'kubectl') };
  const child = spawn(process.execPath, ['--no-warnings', main, ...args], { env });
  let [output, complaint] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  return { code, output, complaint };
}

const model = (message: string, rest: object = {}) =>
  JSON.stringify({
    metadata: { name: 'iris', namespace: 'n' },
    status: { updateRevision: 'iris-b', rollout: { message }, ...rest },
  });

test('what others have written moves no cursor, and looks like no line of its own', async () => {
  const evil = '\u001b]0;owned\u0007\u001b[2J\u009b31mwell\r\n  gate ErrorRate: Passed';
  const items = JSON.stringify([{ reason: 'X', message: evil, lastTimestamp: '2026-01-01T00:00:00Z' }]);
  const conditions = [{ type: 'Ready', status: 'False', message: evil }];
  const { code, output } = await run(['status', 'iris'], { MODEL: model(evil, { conditions }), ITEMS: items });
  expect(code).toBe(0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
  expect(output).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  expect(output).not.toMatch(/^ {2}gate/m);
});

test('a model is verified as pods do it, with the files beside it', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const at = (name: string) => join(directory, name);
  await mkdir(at('models'));
  await writeFile(at('key.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
  await writeFile(at('models/iris.onnx'), 'a model');
  await writeFile(at('models/iris.onnx.sig'), sign('sha256', Buffer.from('a model'), privateKey).toString('base64'));
  const verify = (...args: string[]) => run(['verify', at('models/iris.onnx'), ...args]);
  const sha256 = createHash('sha256').update('a model').digest('hex');
  expect(await verify('--key', at('key.pem'))).toEqual({
    code: 0,
    output: expect.stringMatching(new RegExp(`^signed by the key [0-9a-f]{64}:\\n${sha256} {2}iris.onnx\\n$`)),
    complaint: '',
  });
  await writeFile(at('models/w.bin'), 'weights');
  for (const [args, reason] of [
    [[at('models/w.bin'), '--key', at('key.pem')], 'has w.bin beside it'],
    [['--key', at('none.pem')], 'none.pem cannot be read: ENOENT'],
    [['--key', at('models/iris.onnx')], 'is not a public key'],
    [['--key', at('key.pem'), '--signature', at('key.pem')], 'is not in Base64'],
    [['--key', at('key.pem'), '--signature', at('models')], 'models cannot be read: EISDIR'],
    [[at('models/none.bin'), '--key', at('key.pem')], 'none.bin cannot be read: ENOENT'],
    [[], '--key'],
  ] as const) {
    const { code, output, complaint } = await verify(...args);
    expect([code, output]).toEqual([1, '']);
    expect(complaint).toContain(reason);
    expect(complaint).not.toContain('    at ');
  }
});

test('long texts come whole', async () => {
  const long = 'é'.repeat(50_000);
  const { output } = await run(['status', 'iris', '-o', 'json'], { MODEL: model(long) });
  expect(JSON.parse(output).message).toBe(long);
});

test.each([
  ['a name that is an option', ['status', '--', '--all-namespaces'], {}, 'must be the name of a ModelDeployment'],
  ['a name of several', ['history', 'iris,x=y'], {}, 'must be the name of a ModelDeployment'],
  ['a number that is none', ['undo', 'iris', '--to-revision', '1 --all'], {}, 'must be a number'],
  [
    'a model that nobody has looked at',
    ['promote', 'iris'],
    { MODEL: '{}' },
    'the operator has not looked at iris yet',
  ],
  ['what is no JSON', ['status', 'iris'], { MODEL: 'Warning: something' }, 'no JSON: Warning: something'],
  ['nothing', ['status', 'iris'], { MODEL: '' }, 'no JSON: nothing'],
])('%s is refused in one line', async (_, args, environment, message) => {
  const { code, output, complaint } = await run(args, environment);
  expect([code, output]).toEqual([1, '']);
  expect(complaint).toContain(message);
  expect(complaint).not.toContain('    at ');
});

test('what npm pack makes runs where npm has put it', async () => {
  await execute('npm', ['pack', '--silent', '--pack-destination', directory], { cwd: join(import.meta.dirname, '..') });
  const installed = join(directory, 'node_modules/@slipway/cli');
  await mkdir(installed, { recursive: true });
  await execute('tar', ['-xzf', join(directory, 'slipway-cli-0.1.0.tgz'), '-C', installed, '--strip-components=1']);
  const commander = join(import.meta.dirname, '../../node_modules/commander');
  await symlink(commander, join(directory, 'node_modules/commander'));
  const env = { ...process.env, KUBECTL: join(directory, 'kubectl'), MODEL: model('canary 5%') };
  const { stdout } = await execute(process.execPath, [join(installed, 'build/cli/src/main.js'), 'status', 'iris'], {
    env,
  });
  expect(stdout).toContain('canary 5%');
});

test('commands name the revision that the spec asks for', async () => {
  const { code, output } = await run(['promote', 'iris'], { MODEL: model('canary 5%') });
  expect(code).toBe(0);
  expect(output).toMatch(/^annotated serving\.slipway\.dev\/promote=iris-b@/);
});
