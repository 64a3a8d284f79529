import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from './error-message.ts';
import { StartupError } from './startup-error.ts';

/**
 * What a store asks for, by the names that environment variables usually have: of the Secret that is mounted, and of the
 * pod's own environment, where service accounts of clouds leave it.
 */
export class Credentials {
  readonly #directory: string;
  readonly #environment: Readonly<Record<string, string | undefined>>;

  constructor(directory: string, environment: Readonly<Record<string, string | undefined>>) {
    this.#directory = directory;
    this.#environment = environment;
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
      return readFileSync(this.pathOf(name), 'utf8').trim() || undefined;
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
