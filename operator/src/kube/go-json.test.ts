import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { goJson } from './go-json.ts';

test('is written as Go writes it', () => {
  const value = { b: 1, a: { 10: 'x', 9: 'y' }, '\u{1f600}': [true, null], '\uff5e': '<a> & b\u2028\u2029"\\\n' };
  expect(goJson(value)).toBe(
    '{"a":{"10":"x","9":"y"},"b":1,"\uff5e":"\\u003ca\\u003e \\u0026 b\\u2028\\u2029\\"\\\\\\n","\u{1f600}":[true,null]}',
  );
});

test('leaves out what is undefined, as JSON.stringify does', () => {
  expect(goJson({ a: undefined, b: [undefined] })).toBe('{"b":[null]}');
});

test('means the same as before, whatever the value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(goJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});
