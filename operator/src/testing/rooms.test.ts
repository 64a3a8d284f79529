import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';

/** The rules of the rooms, as CONTRIBUTING.md has them. Tests may look anywhere. */
const repository = join(import.meta.dirname, '../../..');

interface SourceFile {
  /** From the repository on. */
  readonly path: string;
  readonly text: string;
  /** What it imports: from the repository on, or the name of a package. */
  readonly imports: readonly string[];
}

function sourcesOf(workspace: string): SourceFile[] {
  const folder = join(repository, workspace, 'src');
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !/(\.test|\.d)\.ts$|^testing\/|^api\/generated\//.test(file))
    .map((file) => {
      const path = join(folder, file);
      const text = readFileSync(path, 'utf8');
      const names = Array.from(text.matchAll(/(?:from|import\()\s*'([^']+)'/g), (match) => match[1] ?? '');
      const imports = names.map((name) =>
        name.startsWith('.') ? relative(repository, join(dirname(path), name)) : name,
      );
      return { path: relative(repository, path), text, imports };
    });
}

const workspaces = ['contract', 'operator', 'inference-pod', 'node-cache', 'cli'];
const sources = workspaces.flatMap(sourcesOf);
const inRoom = (...rooms: readonly string[]) =>
  sources.filter(({ path }) => rooms.some((room) => path.startsWith(`${room}/`)));
const breaches = (files: readonly SourceFile[], isAllowed: (imported: string) => boolean) =>
  files.flatMap(({ path, imports }) => imports.filter((one) => !isAllowed(one)).map((one) => `${path} imports ${one}`));
const isPackage = (imported: string) => !imported.includes('/src/');

const operatorRooms = (...names: readonly string[]) => names.map((name) => `operator/src/${name}`);
const pure = [
  ...operatorRooms('analysis', 'desired', 'rollout', 'status'),
  'inference-pod/src/protocol',
  'contract/src',
];

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(80);
  for (const room of pure) expect(inRoom(room).length).toBeGreaterThan(2);
});

describe('the rooms', () => {
  test('contract imports nothing of its siblings, and they import no sibling but contract', () => {
    for (const workspace of workspaces) {
      const allowed = [`${workspace}/src/`, 'contract/src/'];
      expect(
        breaches(
          inRoom(`${workspace}/src`),
          (one) => isPackage(one) || allowed.some((prefix) => one.startsWith(prefix)),
        ),
      ).toEqual([]);
    }
  });

  test('kube/ knows nothing of models', () => {
    expect(
      breaches(inRoom('operator/src/kube'), (one) => isPackage(one) || one.startsWith('operator/src/kube/')),
    ).toEqual([]);
  });

  test('the pure rooms have no clock, network, environment, randomness or log', () => {
    const forbidden = /Date\.now|new Date\(\)|performance\.|process\.|Math\.random|\bfetch\(|console\.|setTimeout/;
    expect(inRoom(...pure).flatMap(({ path, text }) => (forbidden.test(text) ? [path] : []))).toEqual([]);
    const allowed = [
      'node:crypto',
      'node:buffer',
      '@kubernetes-models/',
      'kubernetes-models/',
      // Loaded where a signature has a certificate.
      'pkijs',
      'csv-parse/sync',
      'node:module',
    ];
    expect(
      breaches(inRoom(...pure), (one) => !isPackage(one) || allowed.some((prefix) => one.startsWith(prefix))),
    ).toEqual([]);
  });

  test('the pure rooms of the operator import no room that acts', () => {
    const acting = operatorRooms('controller', 'podlink', 'prometheus');
    expect(
      breaches(
        inRoom(...operatorRooms('desired', 'rollout', 'status')),
        (one) => !acting.some((room) => one.startsWith(`${room}/`)),
      ),
    ).toEqual([]);
  });

  test('only kube/, podlink/ and prometheus/ talk to the network', () => {
    const network = ['undici', 'node:http', 'node:https', 'node:net', 'node:tls'];
    const others = inRoom('operator/src').filter(
      ({ path }) =>
        !/^operator\/src\/(kube|podlink|prometheus)\//.test(path) && path !== 'operator/src/serve-health.ts',
    );
    expect(breaches(others, (one) => !network.includes(one))).toEqual([]);
  });

  test('no file is named for being of use', () => {
    expect(sources.filter(({ path }) => /(utils?|helpers?|common|misc)\.ts$/.test(path))).toEqual([]);
  });
});
