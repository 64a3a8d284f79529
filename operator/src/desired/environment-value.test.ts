import { expect, test } from '@jest/globals';
import { environmentValue, textOfEnvironment } from './environment-value.ts';

test.each([
  ['Is it {}?', 'Is it {}?'],
  ['$5', '$5'],
  ['$$', '$$$'],
  ['["$","$$","$$$"]', '["$","$$$","$$$$$"]'],
  ['$(SLIPWAY_MODEL_NAME)', '$$(SLIPWAY_MODEL_NAME)'],
  ['$$(x)', '$$$$(x)'],
])('%j is what a container is given of %j', (text, value) => {
  expect(environmentValue(text)).toBe(value);
  expect(textOfEnvironment(value)).toBe(text);
  expect(expanded(value)).toBe(text);
});

/** As the kubelet does it, with no variable known: pairs from the left, and what is none stays. */
function expanded(value: string): string {
  let text = '';
  for (let at = 0; at < value.length; at++) {
    text += value[at];
    if (value[at] === '$' && value[at + 1] === '$') at++;
    else if (value.startsWith('$(', at)) throw new Error(`a variable is looked for at ${at}`);
  }
  return text;
}
