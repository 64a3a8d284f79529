import { readFileSync } from 'node:fs';
import { join } from 'node:path';

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
    return this.ofSecret(name) ?? this.#environment[name];
  }

  ofSecret(name: string): string | undefined {
    try {
      return readFileSync(join(this.#directory, name), 'utf8').trim();
    } catch {
      // It is not mounted, or has no such key.
      return undefined;
    }
  }
}
