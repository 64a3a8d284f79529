import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type LinkAnswer,
  linkVersion,
  maxCallBytes,
  publicKeysFile,
  type TableClaims,
} from '../../contract/src/link.ts';
import { noMeasures } from '../../contract/src/measures.ts';
import { nothingPassedOn } from '../../contract/src/traffic.ts';
import { createPodLink, type PodLink } from '../src/serving/link.ts';
import { post } from './http.ts';
import { testModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

const key = (id: string) => ({ id, ...generateKeyPairSync('ed25519') });
const [known, other] = [key('known'), key('other')];
const published = ({ id, publicKey }: typeof known) => ({
  id,
  key: publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
});

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'slipway-link-'));
});
afterAll(() => rm(directory, { recursive: true }));
const mount = (...keys: (typeof known)[]) =>
  writeFile(join(directory, publicKeysFile), JSON.stringify({ keys: keys.map(published) }));

function signed(claims: object, by: { readonly id: string; readonly privateKey: KeyObject } = known) {
  const payload = JSON.stringify(claims);
  const signature = sign(null, Buffer.from(payload), by.privateKey).toString('base64');
  return { version: linkVersion, table: { key: by.id, payload, signature } };
}

describe('a table', () => {
  let time = 0;
  let link: PodLink;
  let claims: TableClaims;
  const make = () =>
    createPodLink({
      pod: 'pod-1',
      directory,
      figures: () => ({ revision: 'iris-r', model: undefined, measures: noMeasures, passedOn: nothingPassedOn }),
      now: () => time,
    });
  const refusal = (answer: LinkAnswer) => (answer.kind === 'refused' ? answer.refusal : answer.kind);
  beforeEach(async () => {
    await mount(known);
    link = make();
    const { nonce, clock } = await link.answer({ version: linkVersion });
    claims = { pod: 'pod-1', nonce, sequence: 1, clock, holdsSeconds: 30, table: { traffic: { canary: 5 } } };
  });

  test('that is signed for this pod is taken, answered with figures, and runs out unless it is renewed', async () => {
    const answer = await link.answer(signed(claims));
    expect(answer).toMatchObject({ kind: 'figures', revision: 'iris-r', table: { sequence: 1, table: claims.table } });
    time += 10_000;
    expect(link.table?.table).toEqual(claims.table);
    await link.answer(signed({ ...claims, sequence: 2, clock: claims.clock + 10_000, table: {} }));
    time += 29_000;
    expect(link.table).toEqual({ sequence: 2, table: {} });
    time += 1000;
    expect(link.table).toBeUndefined();
  });

  test('of a caller who does not sign: a greeting, and no figures', async () => {
    const answer = await link.answer({ version: linkVersion });
    expect(Object.keys(answer).sort()).toEqual(['clock', 'kind', 'nonce', 'pod', 'version']);
  });

  test('that is forged is refused: by a key that is not mounted, under a name that is, or changed on the way', async () => {
    expect(refusal(await link.answer(signed(claims, other)))).toBe('UnknownKey');
    expect(refusal(await link.answer(signed(claims, { ...other, id: 'known' })))).toBe('Forged');
    const { version, table } = signed(claims);
    const payload = table.payload.replace('"canary":5', '"canary":9');
    expect(refusal(await link.answer({ version, table: { ...table, payload } }))).toBe('Forged');
    expect(refusal(await link.answer({ version, table: { ...table, signature: '' } }))).toBe('Forged');
    expect(link.table).toBeUndefined();
  });

  test('that is replayed is refused, also one that is older than the last', async () => {
    await link.answer(signed({ ...claims, sequence: 5 }));
    expect(refusal(await link.answer(signed({ ...claims, sequence: 5 })))).toBe('Replayed');
    expect(refusal(await link.answer(signed({ ...claims, sequence: 4 })))).toBe('Replayed');
  });

  test('that is late is refused, also one that seems to come from the future', async () => {
    time += 15_001;
    expect(refusal(await link.answer(signed(claims)))).toBe('Late');
    expect(refusal(await link.answer(signed({ ...claims, clock: claims.clock + 31_000 })))).toBe('Late');
  });

  test('for another pod, or for the life before a restart, is refused; the new life is greeted and told', async () => {
    expect(refusal(await link.answer(signed({ ...claims, pod: 'pod-2' })))).toBe('Misdirected');
    const restarted = make();
    const answer = await restarted.answer(signed(claims));
    expect(refusal(answer)).toBe('Misdirected');
    const again = await restarted.answer(signed({ ...claims, nonce: answer.nonce, clock: answer.clock }));
    expect(refusal(again)).toBe('figures');
  });

  test.each([{ ...{}, pod: 'pod-1' }, { sequence: '1' }, { holdsSeconds: 0 }, { table: null }, 'no object'])(
    'whose claims are %j is refused',
    async (part) => {
      const odd = typeof part === 'string' ? part : 'pod' in part ? part : { ...claims, ...part };
      expect(refusal(await link.answer(signed(odd as object)))).toBe('Malformed');
    },
  );

  test('of a new key is taken once that is mounted, and one of the old is not any more', async () => {
    await mount(other);
    expect(refusal(await link.answer(signed(claims)))).toBe('UnknownKey');
    expect(refusal(await link.answer(signed(claims, other)))).toBe('figures');
  });

  test('is never taken where nothing is mounted', async () => {
    await rm(join(directory, publicKeysFile));
    expect(refusal(await link.answer(signed(claims)))).toBe('UnknownKey');
  });
});

describe('the control port', () => {
  let pod: RunningPod;
  beforeAll(async () => {
    await mount(known);
    pod = await startPod('--model', testModel('types'), '--pod-uid', 'uid-1', '--link-directory', directory);
  });
  afterAll(() => pod.stop());
  const call = async (body: string | object) => post(`${pod.controlUrl}/link`, body);

  test('answers health, and the link with what the pod has counted', async () => {
    for (const path of ['/v2/health/live', '/v2/health/ready'])
      expect((await fetch(`${pod.controlUrl}${path}`)).status).toBe(200);
    await post(`${pod.url}/v2/models/types/infer`, '{}');
    const greeting = (await call({ version: linkVersion })).json as { nonce: string; clock: number };
    const { json: body } = await call(
      signed({ pod: 'uid-1', ...greeting, sequence: 1, holdsSeconds: 5, table: {} } as object),
    );
    expect(body).toMatchObject({
      kind: 'figures',
      measures: { counters: { requests: 1, refused: 1, failed: 0, abandoned: 0 } },
      model: { name: 'types', digest: expect.stringMatching(/^sha256:/) },
    });
    expect(body).toHaveProperty('model.signature.inputs');
  });

  test.each([
    ['that is too large', JSON.stringify({ version: 1, table: 'x'.repeat(maxCallBytes) }), 413],
    ['that is no JSON', '{', 400],
    ['that is no call', '{"version":"1"}', 400],
    ['whose table is no table', '{"version":1,"table":{"key":1}}', 400],
  ])('refuses a body %s', async (_, text, status) => {
    expect((await call(text)).status).toBe(status);
  });
});
