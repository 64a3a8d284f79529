/**
 * JSON as Go's encoding/json writes it of a map: the keys of every object in the order of their bytes, and `<`, `>`, `&`,
 * U+2028 and U+2029 escaped. The API server keeps raw fields as they were sent, and compares them as it would write them
 * itself: what is not to change must be written so from the start.
 */
export function goJson(value: unknown): string {
  return ordered(value).replace(/[<>&\u2028\u2029]/g, escaped);
}

function ordered(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item: unknown) => ordered(item ?? null)).join(',')}]`;
  if (typeof value === 'string') return JSON.stringify(value.toWellFormed());
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  entries.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return `{${entries.map(([name, field]) => `${JSON.stringify(name.toWellFormed())}:${ordered(field)}`).join(',')}}`;
}

/** Only strings hold these characters. */
function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
