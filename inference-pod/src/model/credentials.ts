import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from './error-message.ts';
import { StartupError } from './startup-error.ts';

/** What is shorter would be found everywhere. */
const leastSecret = 6;
/** Addresses, regions and names are keys of a Secret as well, and are told. */
const isOfSecrets = /password|token|key|secret|authorization/i;

/**
 * What a store asks for, by the names that environment variables usually have: of the Secret that is mounted, and of the
 * pod's own environment, where service accounts of clouds leave it.
 */
export class Credentials {
  readonly #directory: string;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #secrets = new Set<string>();

  constructor(directory: string, environment: Readonly<Record<string, string | undefined>>) {
    this.#directory = directory;
    this.#environment = environment;
  }

  /** What was made of a key, and is as secret. */
  keepSecret(text: string): void {
    this.#secrets.add(text);
  }

  /** A text of somebody else, who may repeat what was shown to him. */
  redacted(text: string): string {
    return Array.from(this.#secrets).reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
  }

  /** A Secret may be renewed, so it is read each time. */
  get(name: string): string | undefined {
    return this.ofSecret(name) ?? (this.#environment[name] || undefined);
  }

  /** Where a key of the Secret is mounted, for whoever reads it itself. */
  pathOf(name: string): string {
    return join(this.#directory, name);
  }

  /** @throws StartupError InvalidConfiguration where the key is there and cannot be read */
  ofSecret(name: string): string | undefined {
    try {
      // An empty one is none, as it is in a shell.
      const value = readFileSync(this.pathOf(name), 'utf8').trim();
      if (value.length >= leastSecret && isOfSecrets.test(name)) this.#secrets.add(value);
      return value || undefined;
    } catch (error) {
      // There is no Secret, or it has no such key.
      if (isMissing(error)) return undefined;
      throw new StartupError(
        'InvalidConfiguration',
        `the key ${name} of the Secret of spec.model.secretName cannot be read: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }
}

function isMissing(error: unknown): boolean {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
