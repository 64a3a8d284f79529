/**
 * Compares resourceVersions of one resource: decimal numbers of any length (KEP-5504, stable since Kubernetes 1.35).
 *
 * @returns whether `a` is `b` or newer
 */
export function isAtLeast(a: string, b: string): boolean {
  return a.length === b.length ? a >= b : a.length > b.length;
}
