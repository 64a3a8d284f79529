import { expect, test } from '@jest/globals';
import { fieldsAt, leafPaths, nest, unite, without } from './field-sets.ts';

const set = {
  'f:metadata': { 'f:annotations': { '.': {}, 'f:a': {}, 'f:b': {} } },
  'f:spec': { 'f:containers': { 'k:{"name":"model"}': { '.': {}, 'f:image': {} } } },
};

test('the leaves of a set are named by their paths', () => {
  expect(leafPaths(set)).toEqual([
    'metadata.annotations.a',
    'metadata.annotations.b',
    'spec.containers.[{"name":"model"}].image',
  ]);
  expect(leafPaths({})).toEqual([]);
});

test('parts of sets are found, joined and left out', () => {
  expect(fieldsAt(set, ['metadata', 'annotations'])).toEqual({ '.': {}, 'f:a': {}, 'f:b': {} });
  expect(fieldsAt(set, ['status'])).toBeUndefined();
  expect(nest({ 'f:x': {} }, ['a', 'b'])).toEqual({ 'f:a': { 'f:b': { 'f:x': {} } } });
  expect(unite({ 'f:a': { 'f:b': {} } }, { 'f:a': { 'f:c': {} }, 'f:d': {} })).toEqual({
    'f:a': { 'f:b': {}, 'f:c': {} },
    'f:d': {},
  });
  expect(without(set, ['metadata', 'annotations', 'a'])['f:metadata']).toEqual({
    'f:annotations': { '.': {}, 'f:b': {} },
  });
});

test('a map of which nothing is left is left out, though its marker is there', () => {
  expect(
    without({ 'f:metadata': { 'f:annotations': { '.': {}, 'f:a': {} } } }, ['metadata', 'annotations', 'a']),
  ).toEqual({});
  expect(without(set, ['nothing', 'here'])).toBe(set);
});
