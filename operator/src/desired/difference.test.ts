import { describe, expect, test } from '@jest/globals';
import { findDifference } from './difference.ts';
import { parseQuantity } from './quantity.ts';

test.each([
  ['250m', 0.25],
  ['2', 2],
  [3, 3],
  ['1.5Gi', 1.5 * 2 ** 30],
  ['1e3', 1000],
  ['-2k', -2000],
  ['much', undefined],
  ['', undefined],
  ['5Zi', undefined],
])('the quantity %s is %s', (text, value) => {
  expect(parseQuantity(text)).toBe(value);
});

const metadata = { name: 'a', uid: 'u', resourceVersion: '1' };
const differ = (desired: object, live: object, applied = {}) => findDifference(desired, { metadata, ...live }, applied);

describe('a live object differs', () => {
  test.each<[string, object, object, object, string | undefined]>([
    ['not by defaults that nobody asked for', { spec: { a: 1 } }, { spec: { a: 1, added: true } }, {}, undefined],
    ['by another value', { spec: { a: 1 } }, { spec: { a: 2 } }, {}, 'spec.a'],
    ['by a missing field', { spec: { a: { b: 1 } } }, { spec: {} }, {}, 'spec.a'],
    ['not by a quantity that is written otherwise', { cpu: '1000m' }, { cpu: '1' }, {}, undefined],
    ['not by a small quantity that is written otherwise', { cpu: '0.009' }, { cpu: '9m' }, {}, undefined],
    ['by another quantity', { cpu: '1000m' }, { cpu: '2' }, {}, 'cpu'],
    ['not by an empty string, map or list that was left out', { a: '', b: {}, c: [] }, {}, {}, undefined],
    ['by an item more or less', { list: [1] }, { list: [1, 2] }, {}, 'list'],
    ['by an item of a list', { list: [{ n: 'a', v: 1 }] }, { list: [{ n: 'a', v: 2 }] }, {}, 'list[0].v'],
    [
      'by a field that was applied and is not wanted',
      { spec: { a: 1 } },
      { spec: { a: 1, b: 2 } },
      { 'f:spec': { 'f:b': {} } },
      'spec.b',
    ],
    [
      'by an item that was applied and is not wanted',
      { l: [{ name: 'x' }] },
      { l: [{ name: 'x' }] },
      { 'f:l': { 'k:{"name":"y"}': { '.': {} } } },
      'l[{"name":"y"}]',
    ],
    [
      'not by fields that were applied and are wanted',
      { l: [{ name: 'x', v: 1 }], s: ['z'] },
      { l: [{ name: 'x', v: 1 }], s: ['z'] },
      { 'f:l': { 'k:{"name":"x"}': { '.': {}, 'f:v': {} } }, 'f:s': { 'v:"z"': {} } },
      undefined,
    ],
  ])('%s', (_name, desired, live, applied, path) => {
    expect(differ(desired, live, applied)).toBe(path);
  });
});
