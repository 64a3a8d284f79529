import { expect, test } from '@jest/globals';
import { fileNameOf, InvalidModelUri, parseModelUri, shownUri, uriBeside } from './model-uri.ts';

test.each([
  ['https://models.example/iris.onnx', { scheme: 'https' }],
  ['s3://my.models/iris/1 (a).onnx', { scheme: 's3', bucket: 'my.models', key: 'iris/1 (a).onnx' }],
  ['gs://my_models/iris/1.onnx', { scheme: 'gs', bucket: 'my_models', key: 'iris/1.onnx' }],
  [
    'azblob://account/models/iris/1.onnx',
    { scheme: 'azblob', account: 'account', container: 'models', blob: 'iris/1.onnx' },
  ],
  [
    'hf://org/iris-2@main/onnx/model.onnx',
    { scheme: 'hf', repository: 'org/iris-2', revision: 'main', path: 'onnx/model.onnx' },
  ],
  [
    'hf://org/iris@refs%2Fpr%2F1/model.onnx',
    { scheme: 'hf', repository: 'org/iris', revision: 'refs/pr/1', path: 'model.onnx' },
  ],
  [
    'git+https://git.example:3000/models/iris.git@v1.0/onnx/model.onnx',
    {
      scheme: 'git+https',
      repository: 'git.example:3000/models/iris.git',
      revision: 'v1.0',
      path: 'onnx/model.onnx',
    },
  ],
  [
    'git+http://127.0.0.1:80/a%20project/_git/iris@feature%2Fone/model@2.onnx',
    {
      scheme: 'git+http',
      repository: '127.0.0.1:80/a%20project/_git/iris',
      revision: 'feature/one',
      path: 'model@2.onnx',
    },
  ],
  [
    'oci://registry.example:5000/models/iris:1.0/onnx/model.onnx',
    {
      scheme: 'oci',
      registry: 'registry.example:5000',
      repository: 'models/iris',
      reference: '1.0',
      path: 'onnx/model.onnx',
    },
  ],
  [
    `oci://127.0.0.1:5000/iris@sha256:${'a'.repeat(64)}`,
    { scheme: 'oci', registry: '127.0.0.1:5000', repository: 'iris', reference: `sha256:${'a'.repeat(64)}` },
  ],
  [
    'mlflow://the%20iris/3/model.onnx',
    { scheme: 'mlflow', model: 'the iris', reference: { kind: 'version', version: '3' }, path: 'model.onnx' },
  ],
  [
    'mlflow://iris@champion/onnx/model.onnx',
    { scheme: 'mlflow', model: 'iris', reference: { kind: 'alias', alias: 'champion' }, path: 'onnx/model.onnx' },
  ],
  ['pvc://models/iris/1.onnx', { scheme: 'pvc', volume: 'models', path: 'iris/1.onnx' }],
  ['pvc://models/a\u2028b\r.onnx', { scheme: 'pvc', volume: 'models', path: 'a\u2028b\r.onnx' }],
  ['configmap://iris-1/model.onnx', { scheme: 'configmap', volume: 'iris-1', path: 'model.onnx' }],
  [
    `image://registry.example:5000/models/iris@sha256:${'a'.repeat(64)}/models/iris.onnx`,
    {
      scheme: 'image',
      image: `registry.example:5000/models/iris@sha256:${'a'.repeat(64)}`,
      path: 'models/iris.onnx',
    },
  ],
  ['file:///tmp/a%20b.onnx', { scheme: 'file', path: '/tmp/a b.onnx' }],
  ['models/iris.onnx', { scheme: 'file', path: 'models/iris.onnx' }],
])('%s is taken apart', (uri, parts) => {
  expect(parseModelUri(uri)).toEqual(parts);
});

test.each([
  ['pvc://models', 'names no file in the volume'],
  ['image://registry.example/iris:1/iris.onnx', 'is not image://REGISTRY/REPOSITORY@sha256:DIGEST/PATH'],
  [`image://registry.example/iris@sha256:${'a'.repeat(64)}`, 'is not image://REGISTRY/REPOSITORY@sha256:DIGEST/PATH'],
  [
    `image://registry.example/iris@sha256:${'a'.repeat(64)}/../etc/passwd`,
    'has a step . or .. in it: name the model as it is stored',
  ],
  ['s3://models', 'is not s3://BUCKET/KEY'],
  ['s3://models/../others/iris.onnx', 'has a step . or .. in it: name the model as it is stored'],
  ['s3://Models/iris.onnx', 'is not s3://BUCKET/KEY'],
  [
    'oci://registry.example/models/iris',
    'is not oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST',
  ],
  [
    'oci://registry.example/../iris:1',
    'is not oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST',
  ],
  ['mlflow://iris/latest/model.onnx', 'is not mlflow://MODEL/VERSION/PATH or mlflow://MODEL@ALIAS/PATH'],
  ['mlflow://iris/3', 'is not mlflow://MODEL/VERSION/PATH or mlflow://MODEL@ALIAS/PATH'],
  ['gs://m/iris.onnx', 'is not gs://BUCKET/OBJECT'],
  ['azblob://account/models', 'is not azblob://ACCOUNT/CONTAINER/BLOB'],
  ['azblob://account.example.com/models/iris.onnx', 'is not azblob://ACCOUNT/CONTAINER/BLOB'],
  ['hf://org/iris/model.onnx', 'is not hf://ORG/NAME@REVISION/PATH'],
  ['hf://org/iris@..%2f..%2fother/model.onnx', 'has a step . or .. in it: name the model as it is stored'],
  ['hf://org/iris@%/model.onnx', 'has a name in it that is not percent-encoded rightly'],
  [
    'oci://r.example/iris:1//opt/m.onnx',
    'has an empty step in its path: name the file from the root on, without a slash before it',
  ],
  [
    'git+https://g.example/iris@v1//m.onnx',
    'has an empty step in its path: name the file from the root on, without a slash before it',
  ],
  ['oci://r.example:99999/iris:1', 'names no host that there can be'],
  ['git+https://1.2.3.4.5/iris@v1/m.onnx', 'names no host that there can be'],
  ['git+https://git.example/iris.git/m.onnx', 'is not git+https://HOST/REPOSITORY@REVISION/PATH'],
  ['git+https://user:secret@git.example/iris@v1/m.onnx', 'is not git+https://HOST/REPOSITORY@REVISION/PATH'],
  ['git+https://git.example/a/%2e%2e/iris@v1/m.onnx', 'is not git+https://HOST/REPOSITORY@REVISION/PATH'],
  ['git+https://git.example/a/../iris@v1/m.onnx', 'has a step . or .. in it: name the model as it is stored'],
  ['git+https://git.example/iris@a%2F..%2Fb/m.onnx', 'has a step . or .. in it: name the model as it is stored'],
  [
    'ftp://models.example/iris.onnx',
    'has the scheme ftp; known are https, http, s3, gs, azblob, oci, hf, git+https, git+http, mlflow, pvc, configmap, image, file',
  ],
])('%s is refused', (uri, problem) => {
  expect(() => parseModelUri(uri)).toThrow(new InvalidModelUri(uri, problem));
});

test.each([
  ['https://user:secret@models.example/iris.onnx?sig=secret#secret', 'https://models.example/iris.onnx'],
  ['pvc://models/iris@3/model.onnx', 'pvc://models/iris@3/model.onnx'],
  ['a folder/what?.onnx', 'a folder/what?.onnx'],
])('%s is shown without what may be secret', (uri, shown) => {
  expect(shownUri(uri)).toBe(shown);
});

test.each([
  ['https://models.example/a%20b/m%2B.onnx?v=1', 'm+.onnx', 'https://models.example/a%20b/data/w%201?v=1'],
  ['s3://models/iris/1.onnx', '1.onnx', 's3://models/iris/data/w 1'],
  ['gs://models/1.onnx', '1.onnx', 'gs://models/data/w 1'],
  ['azblob://account/models/iris/1.onnx', '1.onnx', 'azblob://account/models/iris/data/w 1'],
  ['oci://r.example/iris:1/onnx/m.onnx', 'm.onnx', 'oci://r.example/iris:1/onnx/data/w 1'],
  ['hf://org/iris@main/onnx/m.onnx', 'm.onnx', 'hf://org/iris@main/onnx/data/w 1'],
  ['git+https://g.example/iris@v1/onnx/m.onnx', 'm.onnx', 'git+https://g.example/iris@v1/onnx/data/w 1'],
  ['mlflow://iris/3/onnx/m.onnx', 'm.onnx', 'mlflow://iris/3/onnx/data/w 1'],
  ['pvc://models/iris/1.onnx', '1.onnx', 'pvc://models/iris/data/w 1'],
  ['configmap://iris/1.onnx', '1.onnx', 'configmap://iris/data/w 1'],
  [
    `image://registry.example/iris@sha256:${'a'.repeat(64)}/iris/1.onnx`,
    '1.onnx',
    `image://registry.example/iris@sha256:${'a'.repeat(64)}/iris/data/w 1`,
  ],
  ['file:///tmp/a%20b/1.onnx', '1.onnx', '/tmp/a b/data/w 1'],
  ['1.onnx', '1.onnx', 'data/w 1'],
])('%s is the file %s, and beside it is %s', (uri, name, beside) => {
  expect(fileNameOf(uri)).toBe(name);
  expect(uriBeside(uri, 'data/w 1')).toBe(beside);
});

test('beside an artifact that is one file there is nothing', () => {
  expect(() => uriBeside('oci://r.example/iris:1', 'w')).toThrow('add /FILE to it');
});
