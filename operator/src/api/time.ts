/** A time as Kubernetes writes it in an object's fields: RFC 3339, in whole seconds. */
export function timestamp(time: Date): string {
  return time.toISOString().replace(/\.\d+Z$/, 'Z');
}
