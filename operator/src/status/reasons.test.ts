import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { startupFailureReasons } from '../../../contract/src/startup-failure.ts';
import { conditionReasons, eventReasons } from './reasons.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/reasons.md'), 'utf8');
const rows = (part: string) =>
  Array.from(part.matchAll(/^\| `(\w+)` +\| (.+?) *\|$/gm), (match) => [match[1], match[2]?.replace(/ +\| /g, ' | ')]);
const [, conditions = '', events = ''] = page.split(/^## /m);

test('every reason of a condition is in the documentation, in the same words', () => {
  const documented = rows(conditions);
  expect(documented.slice(0, -startupFailureReasons.length)).toEqual(Object.entries(conditionReasons));
  expect(documented.slice(-startupFailureReasons.length).map(([reason]) => reason)).toEqual([...startupFailureReasons]);
});

test('every reason of an event is in the documentation, in the same words', () => {
  expect(rows(events)).toEqual(
    Object.entries(eventReasons).map(([reason, { type, meaning }]) => [reason, `${type} | ${meaning}`]),
  );
});
