import type { Logger } from 'pino';
import type { LoadingProgress, LoadingStage } from '../../../contract/src/loading-progress.ts';

/** So often a log says how far it is. */
const logMilliseconds = 10_000;

/** Follows the loading of a model, so that a pod that is not ready yet says what it waits for. */
export class Loading {
  readonly #log: Logger;
  readonly #start = performance.now();
  readonly #startTime = Math.round(Date.now() / 1000);
  #stage: LoadingStage = 'fetching';
  #bytes = 0;
  #totalBytes: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger) {
    this.#log = log;
    this.#timer = setInterval(() => this.#tell(), logMilliseconds).unref();
  }

  /** Bytes of the file have come. */
  fetched(bytes: number, totalBytes: number | undefined): void {
    this.#bytes = bytes;
    this.#totalBytes = totalBytes;
  }

  enter(stage: LoadingStage): void {
    this.#stage = stage;
  }

  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Undefined once it is done. */
  get progress(): LoadingProgress | undefined {
    if (this.#timer === undefined) return undefined;
    const seconds = (performance.now() - this.#start) / 1000;
    return {
      stage: this.#stage,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      seconds,
      startTime: this.#startTime,
    };
  }

  #tell(): void {
    const { progress } = this;
    if (progress === undefined) return;
    const rate = progress.stage === 'fetching' ? { bytesPerSecond: Math.round(progress.bytes / progress.seconds) } : {};
    this.#log.info({ ...progress, ...rate }, 'the model is being loaded');
  }
}
