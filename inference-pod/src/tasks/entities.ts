import type { Aggregation } from './task.ts';
import type { PlacedToken } from './token-spans.ts';

/** The best label of a token, by its place among the labels, and how sure it is. */
export interface LabelledToken extends PlacedToken {
  readonly label: string;
  readonly score: number;
}

/** Something that a text names, from one place to another, in UTF-16 units. */
export interface Entity {
  readonly label: string;
  readonly start: number;
  readonly end: number;
  readonly score: number;
}

/** What is outside of anything that has a name. */
const outside = 'O';

/**
 * Puts tokens together to what they name, as the pipeline of `transformers` does with its strategies `simple` and `first`: those that follow
 * one another and have the same label, unless one begins anew (`B-`), and where labels tell the end and what is alone (`E-`, `S-`), by these as well. With First, each word has the label of its first token.
 */
export function entitiesOf(tokens: readonly LabelledToken[], aggregation: Aggregation): readonly Entity[] {
  const parts = aggregation === 'First' ? wordsOf(tokens) : tokens;
  const groups: LabelledToken[][] = [];
  let last: string | undefined;
  for (const part of parts) {
    const { isFirst, kind } = kindOf(part.label);
    const group = groups.at(-1);
    if (group !== undefined && kind === last && !isFirst) group.push(part);
    else groups.push([part]);
    last = kind;
  }
  return groups.flatMap((group) => {
    const [first, ...others] = group;
    if (first === undefined || first.label === outside) return [];
    const end = others.reduce((most, part) => Math.max(most, part.end), first.end);
    const score = group.reduce((sum, part) => sum + part.score, 0) / group.length;
    return [{ label: kindOf(first.label).kind, start: first.start, end, score }];
  });
}

function kindOf(label: string): { readonly isFirst: boolean; readonly kind: string } {
  const [, scheme = '', kind] = /^([BIESLU])-(.+)$/s.exec(label) ?? [];
  return { isFirst: 'BSU'.includes(scheme) && scheme !== '', kind: kind ?? label };
}

function wordsOf(tokens: readonly LabelledToken[]): readonly LabelledToken[] {
  const words: LabelledToken[] = [];
  for (const token of tokens) {
    const word = words.at(-1);
    if (word === undefined || token.beginsWord) words.push(token);
    else words.splice(-1, 1, { ...word, end: Math.max(word.end, token.end) });
  }
  return words;
}
