/** The beginning of a text, in whole characters, as the API server counts and stores them. */
export function withinCharacters(text: string, most: number): string {
  const whole = text.toWellFormed();
  return whole.length <= most ? whole : Array.from(whole).slice(0, most).join('');
}
