import { expect, test } from '@jest/globals';
import { modelInFolder } from './mlflow-folder.ts';

test('the model of a folder is the data of its flavor onnx', async () => {
  const written = `
artifact_path: model
flavors:
  onnx:
    code: null
    data: onnx/model.onnx
    onnx_version: 1.20.0
    save_as_external_data: true
  python_function:
    data: model.onnx
    loader_module: mlflow.onnx
mlflow_version: 3.6.0
metadata: {key: !!binary aGVsbG8=, seen: !!set {a: null}}
`;
  expect(await modelInFolder(written)).toBe('onnx/model.onnx');
});

test.each([
  [
    'flavors: {sklearn: {pickled_model: model.pkl}, python_function: {}}',
    'the flavors sklearn, python_function, and no onnx',
  ],
  ['', 'it is no YAML'],
  ['artifact_path: model', 'no flavors'],
  ['a: [', 'it is no YAML'],
  ['flavors: {onnx: {data: ../model.onnx}}', 'no path in its folder'],
  ['flavors: {onnx: {data: /model.onnx}}', 'no path in its folder'],
  ['flavors: {onnx: {data: [model.onnx]}}', 'and no onnx'],
])('%j is refused', async (text, message) => {
  await expect(modelInFolder(text)).rejects.toThrow(message);
});
