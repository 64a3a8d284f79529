import { mkdir, readFile, rename, stat } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { shorten } from '../protocol/json-reader.ts';
import { unpack } from './archive.ts';
import type { ArchiveFormat } from './archive-format.ts';
import { mlflowFileName, modelInFolder, mostBytesOfMlflowFile } from './mlflow-folder.ts';
import { externalDataOf } from './model-file.ts';
import { StartupError } from './startup-error.ts';
import type { UnpackOptions } from './unpacked-folder.ts';

export interface ArchivedOptions extends UnpackOptions {
  /** Where the model is in the archive; undefined where it is the only one. */
  readonly archivePath: string | undefined;
  /** Files that are needed beside the model, by their names. */
  readonly companions: readonly string[];
}

export interface UnpackedModel {
  readonly path: string;
  /** Where that and the files beside it are. */
  readonly folder: string;
}

/**
 * Unpacks an archive, and finds the model in it.
 *
 * @param directory in which nothing else is
 * @throws StartupError ModelInvalid, ModelTooLarge, ModelNotFound; what writing throws; the reason of the signal
 */
export async function unpackModel(
  archive: string,
  format: ArchiveFormat,
  directory: string,
  options: ArchivedOptions,
): Promise<UnpackedModel> {
  const files = await unpack(archive, format, directory, options);
  const named = namedIn(files, options.archivePath);
  const model = posix.basename(named) === mlflowFileName ? await loggedIn(directory, files, named) : named;
  const path = join(directory, model);
  const folder = dirname(path);
  const present = new Set(files);
  for (const location of await externalDataOf(path, options.signal))
    if (!present.has(posix.join(posix.dirname(model), location)))
      throw missing(files, `the model '${shorten(model)}' has data in '${shorten(location)}', which is not in it`);
  for (const companion of options.companions) {
    const found = placesOf(model, companion).find((place) => present.has(place));
    if (found === undefined)
      throw missing(
        files,
        `the model's task or handler needs ${companion} beside '${shorten(model)}', or above its folder if that is called onnx`,
      );
    const own = posix.join(posix.dirname(model), companion);
    if (files.some((file) => file.startsWith(`${own}/`)))
      throw new StartupError(
        'ModelInvalid',
        `'${shorten(own)}' in the model's archive is a folder, and is to be a file`,
      );
    await mkdir(dirname(join(folder, companion)), { recursive: true });
    await rename(join(directory, found), join(folder, companion));
  }
  return { path, folder };
}

function namedIn(files: readonly string[], archivePath: string | undefined): string {
  if (archivePath !== undefined) {
    if (files.includes(archivePath)) return archivePath;
    throw missing(files, `it has no '${shorten(archivePath)}', which spec.model.archivePath names`);
  }
  // Macs put a file beside each that has what they know of it.
  const own = files.filter((file) => !file.split('/').some((step) => step === '__MACOSX' || step.startsWith('.')));
  const logged = own.filter((file) => posix.basename(file) === mlflowFileName);
  const models = logged.length === 1 ? logged : own.filter((file) => file.toLowerCase().endsWith('.onnx'));
  const [only, ...others] = models;
  if (only === undefined) throw missing(files, 'it has no file that ends in .onnx');
  if (others.length > 0)
    throw new StartupError(
      'ModelInvalid',
      `the model's archive has ${models.length} models, ${listed(models)}: name one in spec.model.archivePath`,
    );
  return only;
}

/** The model of a folder that MLflow has written. */
async function loggedIn(directory: string, files: readonly string[], file: string): Promise<string> {
  const whole = join(directory, file);
  if ((await stat(whole)).size > mostBytesOfMlflowFile)
    throw new StartupError(
      'ModelInvalid',
      `the file MLmodel in the model's archive has more than ${mostBytesOfMlflowFile} bytes: name the model itself in spec.model.archivePath`,
    );
  const model = posix.join(posix.dirname(file), await modelInFolder(await readFile(whole, 'utf8')));
  if (!files.includes(model)) throw missing(files, `its file MLmodel names '${shorten(model)}', which is not in it`);
  return model;
}

/** Beside the model, or, as the hub has it, above a folder `onnx` in which that is. */
function placesOf(model: string, companion: string): readonly string[] {
  const folder = posix.dirname(model);
  const above = posix.basename(folder) === 'onnx' ? [posix.join(posix.dirname(folder), companion)] : [];
  return [posix.join(folder, companion), ...above];
}

function missing(files: readonly string[], problem: string): StartupError {
  return new StartupError(
    'ModelNotFound',
    `${problem}; the model's archive has ${files.length === 0 ? 'no files' : listed(files)}`,
  );
}

function listed(files: readonly string[]): string {
  const more = files.length > 10 ? ` and ${files.length - 10} more` : '';
  return (
    files
      .slice(0, 10)
      .map((file) => `'${shorten(file)}'`)
      .join(', ') + more
  );
}
