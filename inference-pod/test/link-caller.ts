import { generateKeyPairSync, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type LinkGreeting,
  linkVersion,
  type PodFigures,
  publicKeysFile,
  type Table,
} from '../../contract/src/link.ts';
import { post } from './http.ts';
import type { RunningPod } from './running-pod.ts';

/** Speaks to pods over the link, as the operator does. */
export class LinkCaller {
  readonly #key = generateKeyPairSync('ed25519');
  #sequence = 0;

  /** Makes a directory what pods are given to know the caller by. */
  mount(directory: string): Promise<void> {
    const key = this.#key.publicKey.export({ format: 'der', type: 'spki' }).toString('base64');
    return writeFile(join(directory, publicKeysFile), JSON.stringify({ keys: [{ id: 'key', key }] }));
  }

  /** Gives a pod a table. */
  async tell({ controlUrl }: RunningPod, uid: string, table: Table, holdsSeconds = 600): Promise<PodFigures> {
    const greeting: LinkGreeting = (await post(`${controlUrl}/link`, { version: linkVersion })).json;
    const { nonce, clock } = greeting;
    this.#sequence = Math.max(this.#sequence, Math.floor(clock)) + 1;
    const claims = { pod: uid, nonce, sequence: this.#sequence, clock, holdsSeconds, table };
    const payload = JSON.stringify(claims);
    const signature = sign(null, Buffer.from(payload), this.#key.privateKey).toString('base64');
    const answer = await post(`${controlUrl}/link`, {
      version: linkVersion,
      table: { key: 'key', payload, signature },
    });
    if (answer.json.kind !== 'figures') throw new Error(`the pod answers ${answer.text}`);
    return answer.json;
  }
}
