import { expect, test } from '@jest/globals';
import { InvalidModelUri, parseModelUri, shownUri } from './model-uri.ts';

test.each([
  ['https://models.example/iris.onnx', { scheme: 'https' }],
  ['s3://my.models/iris/1 (a).onnx', { scheme: 's3', bucket: 'my.models', key: 'iris/1 (a).onnx' }],
  ['pvc://models/iris/1.onnx', { scheme: 'pvc', volume: 'models', path: 'iris/1.onnx' }],
  ['configmap://iris-1/model.onnx', { scheme: 'configmap', volume: 'iris-1', path: 'model.onnx' }],
  ['file:///tmp/a%20b.onnx', { scheme: 'file', path: '/tmp/a b.onnx' }],
  ['models/iris.onnx', { scheme: 'file', path: 'models/iris.onnx' }],
])('%s is taken apart', (uri, parts) => {
  expect(parseModelUri(uri)).toEqual(parts);
});

test.each([
  ['pvc://models', 'names no file in the volume'],
  ['s3://models', 'is not s3://BUCKET/KEY'],
  ['s3://models/../others/iris.onnx', 'has a segment . or .. in its key: name the object as it is stored'],
  ['s3://Models/iris.onnx', 'is not s3://BUCKET/KEY'],
  ['ftp://models.example/iris.onnx', 'has the scheme ftp; known are https, http, s3, pvc, configmap and file'],
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
