/**
 * The program that kubectl asks what could come next: it is given the words so far, and prints a candidate a line and a
 * directive (4: no file names).
 */
export function completionScript(commands: readonly string[]): string {
  return `#!/bin/sh
if [ $# -le 1 ]; then
  printf '%s\\n' ${commands.join(' ')}
else
  kubectl get modeldeployments.serving.slipway.dev -o name 2>/dev/null | cut -d/ -f2
fi
echo :4`;
}
