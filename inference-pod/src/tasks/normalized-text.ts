/** Where something is in a text: of UTF-16 units, the first, and the one behind the last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** For each UTF-16 unit of a normalized text, where what it was made of is in the original. */
export interface Origins {
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

type Normalize = (text: string) => string;

const graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

/**
 * Finds what each UTF-16 unit of a normalized text was made of: of one character, or of a sign whose characters become others because they
 * stand together. What a normalizer leaves out, puts in or writes otherwise because of more than that is found by what stands around it.
 *
 * @param normalized what the normalizer makes of the text
 * @returns undefined where that cannot be told
 */
export function originsOf(original: string, normalized: string, normalize: Normalize): Origins | undefined {
  if (original === normalized) return madeOf(original, (part) => part);
  const ofPart: Normalize = (part) =>
    insideOf(normalize(letter + part + letter), prefixOf(normalize)) ?? normalize(part);
  const byCharacter = madeOf(original, ofPart);
  if (byCharacter.text === normalized) return byCharacter;
  const bySign = madeOf(
    Array.from(graphemes.segment(original), ({ segment }) => segment),
    ofPart,
  );
  return bySign.text === normalized ? bySign : aligned(bySign, normalized);
}

/** Ends of texts are treated otherwise than what is within. */
const letter = 'a';

function insideOf(made: string, prefix: string): string | undefined {
  const isWhole = made.startsWith(prefix + letter) && made.endsWith(letter) && made.length > prefix.length + 1;
  return isWhole ? made.slice(prefix.length + letter.length, -letter.length) : undefined;
}

/** What a normalizer puts before every text. */
function prefixOf(normalize: Normalize): string {
  const made = normalize(letter);
  return made.endsWith(letter) ? made.slice(0, -letter.length) : '';
}

interface Made extends Origins {
  readonly text: string;
}

/** What the parts of a text become one by one, and what of it each unit is of. */
function madeOf(parts: Iterable<string>, normalize: Normalize): Made {
  const known = new Map<string, string>();
  const texts: string[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  let start = 0;
  for (const part of parts) {
    let made = known.get(part);
    if (made === undefined) {
      made = normalize(part);
      known.set(part, made);
    }
    const end = start + part.length;
    for (let unit = 0; unit < made.length; unit++) {
      starts.push(start);
      ends.push(end);
    }
    texts.push(made);
    start = end;
  }
  return { text: texts.join(''), starts: Int32Array.from(starts), ends: Int32Array.from(ends) };
}

/** Of what is put in, at most; what is left out may be as long as it likes. */
const mostPutIn = 16;
/** So many units have to be the same again, or all that are left. */
const sameAgain = 4;

/** Of what takes the place of something else, at most. */
const mostReplaced = 8;

/** Follows two texts that differ in few places. */
function aligned(one: Made, other: string): Origins | undefined {
  // Which sigma it is depends on whether it is the last letter.
  const made = { ...one, text: one.text.replaceAll('ς', 'σ') };
  const normalized = other.replaceAll('ς', 'σ');
  const starts = new Int32Array(normalized.length);
  const ends = new Int32Array(normalized.length);
  let from = 0;
  for (let at = 0; at < normalized.length; ) {
    if (made.text[from] === normalized[at]) {
      starts[at] = made.starts[from] ?? 0;
      ends[at] = made.ends[from] ?? 0;
      from += 1;
      at += 1;
      continue;
    }
    const gap = gapAt(made.text, from, normalized, at);
    if (gap === undefined || (gap.putIn > 0 && gap.leftOut > mostReplaced)) return undefined;
    // What takes the place of something is of that, and what is put in of what comes next.
    const first = Math.min(from, made.starts.length - 1);
    const last = Math.max(first, Math.min(from + gap.leftOut, made.starts.length) - 1);
    starts.fill(made.starts[first] ?? 0, at, at + gap.putIn);
    ends.fill(made.ends[last] ?? 0, at, at + gap.putIn);
    from += gap.leftOut;
    at += gap.putIn;
  }
  return { starts, ends };
}

/** How much is left out and put in before both are the same again: as little as can be. */
function gapAt(made: string, from: number, normalized: string, at: number) {
  const most = made.length - from + mostPutIn;
  for (let both = 1; both <= most; both++)
    for (let putIn = 0; putIn <= Math.min(mostPutIn, both, normalized.length - at); putIn++)
      if (isSame(made, from + both - putIn, normalized, at + putIn)) return { leftOut: both - putIn, putIn };
  return undefined;
}

function isSame(made: string, from: number, normalized: string, at: number): boolean {
  const next = normalized.slice(at, at + sameAgain);
  return next === '' ? from === made.length : made.startsWith(next, from);
}
