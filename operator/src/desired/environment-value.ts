/**
 * A value for the environment of a container, of which the kubelet makes the given text again: it takes `$(NAME)` for another variable,
 * and `$$` for one `$` (third_party/forked/golang/expansion in Kubernetes).
 */
export function environmentValue(text: string): string {
  return text.replaceAll(/\$(?=[$(])/g, '$$$$');
}

/** What a container is given of a value that `environmentValue` has made. */
export function textOfEnvironment(value: string): string {
  return value.replaceAll('$$', '$');
}
