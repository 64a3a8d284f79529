import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { portOf } from '../free-port.ts';
import { makeCertificates } from './certificates.ts';
import { type PlayedProxy, startProxy } from './played-proxy.ts';
import { iris, Workplace } from './played-store.ts';

/** Models of a web server behind TLS of an authority of one's own, a password, and a proxy. */
const authorization = 'Basic dXNlcjp0aGUtcGFzc3dvcmQ=';
const bytes = readFileSync(iris);

let work: Workplace;
let authority: string;
let web: Server;
let proxy: PlayedProxy;

beforeAll(async () => {
  work = await Workplace.make('web');
  const made = await makeCertificates({ type: 'ip', value: '127.0.0.1' }, { type: 'dns', value: 'models.example' });
  authority = made.authority;
  web = createServer({ cert: made.certificate, key: made.key }, ({ url, headers }, response) => {
    if (url === '/private/model.onnx' && headers.authorization !== authorization) response.writeHead(401).end();
    else response.end(bytes);
  }).listen(0, '127.0.0.1');
  await once(web, 'listening');
  proxy = await startProxy(web);
});
afterAll(async () => {
  proxy.close();
  web.close();
  await work.remove();
});

const uri = (path: string) => `https://127.0.0.1:${portOf(web)}${path}`;

describe('a model comes from a web server', () => {
  test('whose authority is in the Secret, and no other', async () => {
    await work.expectLoaded(uri('/model.onnx'), await work.secretOf({ 'ca.crt': authority }));
    const unknown =
      'is signed by no authority that is known: give that as the key ca.crt of the Secret of spec.model.secretName';
    await work.expectRefused(uri('/model.onnx'), [], ['ModelFetchFailed', unknown]);
    const another = (await makeCertificates()).authority;
    await work.expectRefused(uri('/model.onnx'), await work.secretOf({ 'ca.crt': another }), [
      'ModelFetchFailed',
      unknown,
    ]);
    await work.expectRefused(uri('/model.onnx'), await work.secretOf({ 'ca.crt': 'no certificate' }), [
      'InvalidConfiguration',
      'ca.crt of the Secret of spec.model.secretName must hold certificates in PEM',
    ]);
  });

  test('that asks who it is', async () => {
    const secret = { 'ca.crt': authority, AUTHORIZATION: authorization };
    await work.expectLoaded(uri('/private/model.onnx'), await work.secretOf(secret));
    await work.expectRefused(
      uri('/private/model.onnx'),
      await work.secretOf({ ...secret, AUTHORIZATION: 'Basic bm9ib2R5OmF0LWFsbA==' }),
      ['ModelFetchFailed', '/private/model.onnx answered 401: check AUTHORIZATION of the Secret'],
    );
    await work.expectRefused(uri('/private/model.onnx'), await work.secretOf({ 'ca.crt': authority }), [
      'ModelFetchFailed',
      'give its Authorization header as the key AUTHORIZATION',
    ]);
  });

  test('that a header cannot be sent to is told by the key', async () => {
    const secret = await work.secretOf({ 'ca.crt': authority, AUTHORIZATION: 'Bearer a\nb' });
    await work.expectRefused(uri('/model.onnx'), secret, [
      'InvalidConfiguration',
      'characters that no header may have',
    ]);
  });

  test('through a proxy, which looks up its name, but for the hosts that need none', async () => {
    const secret = await work.secretOf({ 'ca.crt': authority });
    // As curl has it, without a scheme.
    const environment = { HTTPS_PROXY: proxy.url.replace('http://', ''), NO_PROXY: '127.0.0.1' };
    await work.expectLoaded('https://models.example/model.onnx', secret, environment);
    expect(proxy.tunnels).toEqual(['models.example:443']);
    await work.expectLoaded(uri('/model.onnx'), secret, environment);
    expect(proxy.tunnels).toHaveLength(1);
  });

  test('not through a proxy that is none', async () => {
    const environment = { HTTPS_PROXY: 'socks5://proxy' };
    await work.expectRefused(
      uri('/model.onnx'),
      [],
      ['InvalidConfiguration', 'HTTPS_PROXY must be the URL'],
      environment,
    );
  });

  test('through a proxy, but not from where no model is fetched', async () => {
    const environment = { HTTPS_PROXY: proxy.url };
    await work.expectRefused(
      'https://169.254.169.254/model.onnx',
      [],
      ['ModelFetchFailed', 'is a link-local address'],
      environment,
    );
  });
});
