import { execFile, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Nothing of what whoever runs the tests has set. */
const environment = {
  PATH: process.env['PATH'],
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_SYSTEM: '/dev/null',
  GIT_AUTHOR_NAME: 'a tester',
  GIT_AUTHOR_EMAIL: 'tester@example.com',
  GIT_COMMITTER_NAME: 'a tester',
  GIT_COMMITTER_EMAIL: 'tester@example.com',
};

/** A repository of Git in a folder, which `serveGit` serves. */
export class Repository {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  static async make(folder: string, ...options: string[]): Promise<Repository> {
    await mkdir(folder, { recursive: true });
    const repository = new Repository(folder);
    await repository.git('init', '--quiet', '--initial-branch=main', ...options);
    return repository;
  }

  async git(...args: string[]): Promise<string> {
    return (await run('git', args, { cwd: this.#folder, env: environment })).stdout.trim();
  }

  /** @returns the commit */
  async commit(files: Readonly<Record<string, Buffer | string>>): Promise<string> {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(this.#folder, name)), { recursive: true });
      await writeFile(join(this.#folder, name), content);
    }
    await this.git('add', '--all');
    await this.git('commit', '--quiet', '--message', 'files of models');
    return await this.git('rev-parse', 'HEAD');
  }
}

/**
 * Answers a request as `git http-backend` does, which Git's own documentation puts behind a web server (RFC 3875).
 *
 * @param body in the place of that of the request
 */
export function serveGit(root: string, request: IncomingMessage, response: ServerResponse, body?: string): void {
  const { pathname, search } = new URL(request.url ?? '', 'http://git');
  const backend = spawn('git', ['http-backend'], {
    env: {
      ...environment,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: decodeURIComponent(pathname),
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  // Whoever asks may go before all has been said.
  for (const stream of [backend.stdin, backend.stdout]) stream.on('error', () => undefined);
  response.on('close', () => backend.kill());
  if (body === undefined) request.pipe(backend.stdin);
  else backend.stdin.end(body);
  void answer(backend.stdout, response);
}

async function answer(output: AsyncIterable<Buffer>, response: ServerResponse): Promise<void> {
  let beginning: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of output) {
    if (beginning === undefined) {
      response.write(chunk);
      continue;
    }
    beginning = Buffer.concat([beginning, chunk]);
    const end = beginning.indexOf('\r\n\r\n');
    if (end === -1) continue;
    const headers = beginning.toString('latin1', 0, end).split('\r\n');
    const told = headers.map((line): [string, string] => [line.replace(/:.*$/, ''), line.replace(/^[^:]*: */, '')]);
    const status = told.find(([name]) => name === 'Status')?.[1] ?? '200';
    response.writeHead(Number.parseInt(status, 10), Object.fromEntries(told.filter(([name]) => name !== 'Status')));
    response.write(beginning.subarray(end + 4));
    beginning = undefined;
  }
  response.end();
}
