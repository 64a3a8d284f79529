/** Where something is in a text: of UTF-16 units, the first, and the one behind the last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

type Normalize = (text: string) => string;

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

/**
 * Finds what each UTF-16 unit of a normalized text was made of: of one character, or of a sign whose characters become others because they
 * stand together.
 *
 * @param normalized what the normalizer makes of the text
 * @returns undefined where that cannot be told
 */
export function originsOf(original: string, normalized: string, normalize: Normalize): readonly Span[] | undefined {
  const origins: Span[] = [];
  let made = '';
  let start = 0;
  for (const word of original.split(/(?<=\s)(?=\S)|(?<=\S)(?=\s)/u)) {
    const parts = partsOf(word, normalize);
    if (parts === undefined) return undefined;
    for (const { from, to } of parts) {
      const span = { start, end: start + from.length };
      for (let unit = 0; unit < to.length; unit++) origins.push(span);
      made += to;
      start = span.end;
    }
  }
  return made === normalized ? origins : undefined;
}

interface Part {
  readonly from: string;
  readonly to: string;
}

function partsOf(word: string, normalize: Normalize): readonly Part[] | undefined {
  const whole = normalize(word);
  const bySign = Array.from(graphemes.segment(word), ({ segment }) => partsOfSign(segment, normalize)).flat();
  if (madeOf(bySign) === whole) return bySign;
  // What a letter becomes may depend on whether it is the last.
  const [before, after] = [Array.from(word), Array.from(whole)];
  return before.length === after.length ? before.map((from, at) => ({ from, to: after[at] ?? '' })) : undefined;
}

/** Its characters, unless they become others because they stand together. */
function partsOfSign(sign: string, normalize: Normalize): readonly Part[] {
  const whole = { from: sign, to: normalize(sign) };
  const byCharacter = Array.from(sign, (from) => ({ from, to: normalize(from) }));
  return madeOf(byCharacter) === whole.to ? byCharacter : [whole];
}

const madeOf = (parts: readonly Part[]): string => parts.map(({ to }) => to).join('');
