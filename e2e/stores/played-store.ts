import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { failToStartIn, startPodIn } from '../../inference-pod/test/running-pod.ts';
import { eventually } from '../eventually.ts';
import { portOf } from '../free-port.ts';

/** The model that every store has. */
export const iris = exampleModel('iris', '1').path;

/** A folder of a test, and what is in it. */
export class Workplace {
  readonly folder: string;
  /** What nothing may tell. */
  readonly #secrets = new Set<string>();

  constructor(folder: string) {
    this.folder = folder;
  }

  static async make(name: string): Promise<Workplace> {
    return new Workplace(await mkdtemp(join(tmpdir(), `slipway-${name}-`)));
  }

  /** What a Secret is where it is mounted: a folder with a file for each key. */
  async secretOf(values: Readonly<Record<string, string>>): Promise<readonly string[]> {
    const secret = await mkdtemp(join(this.folder, 'secret-'));
    for (const [name, value] of Object.entries(values)) {
      await writeFile(join(secret, name), `${value}\n`);
      this.#secrets.add(value);
    }
    return ['--credentials-directory', secret];
  }

  /** The pod fetches the model, and says nothing of what is in a Secret. */
  async expectLoaded(uri: string, secret: readonly string[], environment: Record<string, string> = {}): Promise<void> {
    await this.expectLoadedOf(await readFile(iris), uri, secret, environment);
  }

  /** @param bytes that the store has */
  async expectLoadedOf(
    bytes: Buffer,
    uri: string,
    secret: readonly string[],
    environment: Record<string, string> = {},
  ): Promise<void> {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const args = ['--model-uri', uri, '--model-name', 'iris', '--model-sha256', sha256, ...secret];
    const pod = await startPodIn({ environment }, ...args);
    await pod.stop();
    expect(pod.logs).toContainEqual(expect.objectContaining({ msg: 'the model file is here', sha256, from: 'Store' }));
    this.#expectSilent(pod.output());
  }

  async expectRefused(
    uri: string,
    secret: readonly string[],
    [reason, message]: readonly [string, string],
    environment: Record<string, string> = {},
  ): Promise<void> {
    const args = ['--model-uri', uri, '--model-name', 'iris', ...secret];
    const { terminationMessage, output } = await failToStartIn({ environment }, ...args);
    expect(terminationMessage).toMatchObject({ reason, message: expect.stringContaining(message) });
    this.#expectSilent(output);
  }

  #expectSilent(output: string): void {
    for (const value of this.#secrets)
      if (value.length > 5 && !value.startsWith('http')) expect(output).not.toContain(value);
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}

/** Starts a server of HTTP, and waits until it answers. */
export async function startStore(
  binary: string,
  args: readonly string[],
  url: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<ChildProcess> {
  const store = spawn(binary, args, { env: { ...process.env, ...environment }, stdio: 'ignore' });
  const answers = () =>
    fetch(url).then(
      () => true,
      () => false,
    );
  await eventually(answers, (isThere) => isThere, { seconds: 60 });
  return store;
}

export async function listen(listener: RequestListener): Promise<{ readonly server: Server; readonly url: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${portOf(server)}` };
}
