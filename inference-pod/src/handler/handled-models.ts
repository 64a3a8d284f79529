import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Scheduler, type SchedulerOptions } from '../execution/scheduler.ts';
import { externalDataOf } from '../model/model-file.ts';
import { StartupError } from '../model/startup-error.ts';
import { shorten } from '../protocol/json-reader.ts';

/** A model that only a handler runs. */
export interface RunningModel {
  readonly name: string;
  readonly scheduler: Scheduler;
}

/**
 * Opens the models that only a handler runs, one after the other.
 *
 * @param names of their files
 * @param options of the model of the pod
 * @throws StartupError that names the model
 */
export async function startHandledModels(
  names: readonly string[],
  folder: string,
  options: SchedulerOptions,
): Promise<readonly RunningModel[]> {
  const started: RunningModel[] = [];
  for (const name of names) {
    const settings = { ...options.settings, path: join(folder, name), task: undefined };
    try {
      await checkData(settings.path, folder, options.signal);
      started.push({ name, scheduler: await Scheduler.start({ ...options, settings }) });
    } catch (error) {
      if (!(error instanceof StartupError)) throw error;
      throw new StartupError(error.reason, `${name}, which the handler runs: ${error.message}`, { cause: error });
    }
  }
  return started;
}

/** @throws StartupError where a model has its data in files that are not there */
async function checkData(path: string, folder: string, signal: AbortSignal): Promise<void> {
  for (const location of await externalDataOf(path, signal)) {
    if (existsSync(join(folder, location))) continue;
    const message = `it has data in '${shorten(location)}': name that file in spec.runtime.handler.files as well`;
    throw new StartupError('ModelInvalid', message);
  }
}
