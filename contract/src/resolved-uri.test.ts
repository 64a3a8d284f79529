import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isResolved, mayMove } from './resolved-uri.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const commit = '0123456789abcdef0123456789abcdef01234567';

test.each([
  ['oci://registry.example/iris:1/model.onnx', true],
  [`oci://registry.example/iris@${digest}/model.onnx`, false],
  ['hf://org/iris@main/model.onnx', true],
  [`hf://org/iris@${commit}/model.onnx`, false],
  ['git+https://git.example/models/iris.git@v1/model.onnx', true],
  [`git+https://git.example/models/iris.git@${commit}/model.onnx`, false],
  ['mlflow://iris@champion/m.onnx', true],
  ['mlflow://iris/3/m.onnx', false],
  ['https://models.example/iris.onnx', false],
  ['nonsense://', false],
])('%s may move: %s', (uri, moves) => {
  expect(mayMove(uri)).toBe(moves);
});

test.each([
  ['oci://r.example/iris:1/m.onnx', `oci://r.example/iris@${digest}/m.onnx`, true],
  ['oci://r.example/iris:1', `oci://r.example/iris@${digest}`, true],
  ['oci://r.example/iris:1/m.onnx', `oci://r.example/iris@${digest}`, false],
  ['oci://r.example/iris:1/m.onnx', `oci://r.example/other@${digest}/m.onnx`, false],
  ['oci://r.example/iris:1/m.onnx', `oci://evil.example/iris@${digest}/m.onnx`, false],
  ['oci://r.example/iris:1/m.onnx', 'oci://r.example/iris:2/m.onnx', false],
  ['hf://org/iris@main/m.onnx', `hf://org/iris@${commit}/m.onnx`, true],
  ['hf://org/iris@main/m.onnx', `hf://org/other@${commit}/m.onnx`, false],
  ['git+https://g.example/iris.git@main/m.onnx', `git+https://g.example/iris.git@${commit}/m.onnx`, true],
  ['git+https://g.example/iris.git@main/m.onnx', `git+http://g.example/iris.git@${commit}/m.onnx`, false],
  ['git+https://g.example/iris.git@main/m.onnx', `git+https://evil.example/iris.git@${commit}/m.onnx`, false],
  ['git+https://g.example/iris.git@main/m.onnx', `git+https://g.example/other.git@${commit}/m.onnx`, false],
  ['git+https://g.example/iris.git@main/m.onnx', `git+https://g.example/iris.git@${commit}/other.onnx`, false],
  ['git+https://g.example/iris.git@main/m.onnx', 'git+https://g.example/iris.git@v1/m.onnx', false],
  ['mlflow://iris@champion/m.onnx', 'mlflow://iris/3/m.onnx', true],
  ['mlflow://iris@champion/m.onnx', 'mlflow://other/3/m.onnx', false],
  ['hf://org/iris@main/m.onnx', 'https://evil.example/m.onnx', false],
  ['https://models.example/m.onnx', 'https://models.example/m.onnx', false],
  ['oci://r.example/iris:1/m.onnx', 'file://%', false],
  ['hf://org/iris@main/m.onnx', 'hf://org/iris@%/m.onnx', false],
  ['oci://r.example/iris:1/m.onnx', `oci://r.example/iris@${digest}/m.onnx${'x'.repeat(2048)}`, false],
])('%s may have led to %s: %s', (uri, resolved, is) => {
  expect(isResolved(uri, resolved)).toBe(is);
});

test('whatever a pod tells is judged, and throws nothing', () => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom('%', '://', '@', ':', '/', 'file', 'oci', 'hf', 'mlflow', 'https', '..'),
  );
  const told = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(told, (uri) => {
      isResolved('oci://r.example/iris:1/m.onnx', uri);
      isResolved(uri, `oci://r.example/iris@${digest}/m.onnx`);
    }),
    { numRuns: 5000 },
  );
});
