import { spawn } from 'node:child_process';

/** Runs kubectl, with the cluster and the namespace that the user has chosen. */
export type Kubectl = (args: readonly string[]) => Promise<string>;

/** kubectl has ended with an error: what it said is told as it is. */
export class KubectlError extends Error {
  override readonly name = 'KubectlError';
}

/**
 * Text as it may be shown: whoever may write a status or an Event is not to write to a terminal what moves its cursor, or
 * looks like lines of this program.
 */
export function printable(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(/\p{Cc}/gu, '\ufffd');
}

/**
 * @param common options that every call is given
 * @returns what it printed
 * @throws KubectlError when it is not there, or ends with an error
 */
export function kubectlWith(common: readonly string[], program = process.env['KUBECTL'] ?? 'kubectl'): Kubectl {
  return (args) =>
    new Promise((resolve, reject) => {
      const child = spawn(program, [...common, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
      let [output, complaint] = ['', ''];
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        complaint += text;
      });
      child.on('error', () => reject(new KubectlError(`${program} cannot be run: is it on your PATH?`)));
      child.on('close', (code) => {
        if (code === 0) resolve(output);
        else reject(new KubectlError(complaint.trim() || `${program} ended with ${code}`));
      });
    });
}
