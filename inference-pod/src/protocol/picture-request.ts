import { type JsonReader, shorten } from './json-reader.ts';
import { badRequest, RequestError } from './request-error.ts';
import { readList, readShare, readTextRequest, readWhole, refuseOther } from './text-request.ts';

/** A request of `POST /v1/classify` for pictures, or of `POST /v1/detect`. */
export interface PictureRequest {
  /** Each as it was sent, in a form of pictures, and how the client knows it. */
  readonly pictures: readonly { readonly field: string; readonly bytes: Buffer }[];
  /** How many of the best labels are told; undefined for as many as is usual. */
  readonly top: number | undefined;
  /** From 0 to 1: what is less sure is not told; undefined for what is usual, and for labels. */
  readonly threshold: number | undefined;
}

/** The forms in which pictures come: in Base64, as the body itself, or as files of a form. */
export const pictureWires = ['pictures', 'picture', 'picture-form'] as const;
export type PictureWire = (typeof pictureWires)[number];

/** @throws RequestError 404 for a form of something else */
export function pictureWireOf(wire: string): PictureWire {
  const known = pictureWires.find((each) => each === wire);
  if (known === undefined) throw new RequestError(404, 'this model takes pictures');
  return known;
}

const mostPictures = 64;
/** Of a form: there are fields beside the pictures, and an end. */
const mostParts = mostPictures + 16;
const mostTop = 65_536;
const inputForm = 'pictures in Base64, or of objects that have an image';

/**
 * Reads a body with pictures.
 *
 * @param name of the model that is here
 * @throws RequestError 400 that names the field and what was expected, 404 for another model
 */
export async function decodePictures(wire: PictureWire, body: Buffer, name: string): Promise<PictureRequest> {
  switch (wire) {
    case 'picture':
      if (body.length === 0) throw badRequest('the body is empty: send a JPEG, PNG or WebP');
      return { pictures: [{ field: 'the body', bytes: body }], top: undefined, threshold: undefined };
    case 'pictures':
      return decodeJson(body, name);
    case 'picture-form':
      return decodeForm(body, name);
  }
}

function decodeJson(body: Buffer, name: string): PictureRequest {
  let pictures: PictureRequest['pictures'] | undefined;
  let top: number | undefined;
  let threshold: number | undefined;
  readTextRequest(body, name, {
    input: (reader) => {
      pictures =
        reader.peek() === 'array'
          ? readList(reader, 'input', inputForm, mostPictures, (element) => readPicture(reader, element))
          : [readPicture(reader, 'input')];
    },
    top_n: (reader) => {
      top = readWhole(reader, 'top_n', mostTop);
    },
    threshold: (reader) => {
      threshold = readShare(reader, 'threshold');
    },
  });
  if (pictures === undefined) throw badRequest(`'input' must be a list of ${inputForm}: it is missing`);
  return { pictures, top, threshold };
}

function readPicture(reader: JsonReader, field: string): PictureRequest['pictures'][number] {
  if (reader.peek() !== 'object') return { field: `'${field}'`, bytes: readBase64(reader, field) };
  let bytes: Buffer | undefined;
  reader.beginObject();
  for (let key = reader.key(true); key !== undefined; key = reader.key(false)) {
    if (key === 'image' && bytes === undefined) bytes = readBase64(reader, `${field}.image`);
    else reader.skip();
  }
  if (bytes === undefined) throw badRequest(`'${field}.image' must be a string: it is missing`);
  return { field: `'${field}.image'`, bytes };
}

function readBase64(reader: JsonReader, field: string): Buffer {
  if (reader.peek() !== 'string') throw badRequest(`'${field}' must be a string, not ${reader.describe()}`);
  const text = reader.string();
  if (/^https?:/i.test(text))
    throw badRequest(
      `'${field}' is an address: send the picture itself, in Base64; pictures are fetched from hosts alone that the model names, in bodies of at most 1 MiB`,
    );
  // Python's encoder breaks lines, and ends with one.
  const encoded = text.replace(/^\s*data:[\w./+-]*(;[\w.+-]+=[\w.+-]+)*;base64,/i, '').replaceAll(/\s+/g, '');
  if (encoded.length < 4 || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(encoded)) throw badRequest(`'${field}' is no Base64`);
  return Buffer.from(encoded, 'base64');
}

/** A body of multipart/form-data: each file is a picture, whatever its field is called. */
async function decodeForm(body: Buffer, name: string): Promise<PictureRequest> {
  const form = await formOf(body);
  const pictures: { readonly field: string; readonly bytes: Buffer }[] = [];
  let top: number | undefined;
  let threshold: number | undefined;
  for (const [field, value] of form) {
    if (typeof value !== 'string')
      pictures.push({ field: `'${shorten(field)}'`, bytes: Buffer.from(await value.arrayBuffer()) });
    else if (field === 'model') refuseOther(value, name);
    else if (field === 'top_n') top = topOf(value);
    else if (field === 'threshold') threshold = thresholdOf(value);
  }
  if (pictures.length === 0) throw badRequest('the form must have a file at least');
  if (pictures.length > mostPictures) throw tooManyFiles();
  return { pictures, top, threshold };
}

/** The line that stands between the parts is the first of the body. */
async function formOf(body: Buffer): Promise<FormData> {
  const end = body.subarray(0, 200).indexOf('\r\n');
  const boundary = body.toString('latin1', 2, Math.max(2, end));
  const isForm = end > 2 && body.toString('latin1', 0, 2) === '--' && /^[\w'()+,./:=? -]{1,70}$/.test(boundary);
  if (!isForm) throw badRequest('the body is no multipart/form-data: it does not begin with its boundary');
  // The library makes objects of all parts before it gives the first away.
  let parts = 0;
  for (let at = 0; at !== -1; at = body.indexOf(`\r\n--${boundary}`, at + 1)) parts++;
  if (parts > mostParts) throw tooManyFiles();
  try {
    const headers = { 'content-type': `multipart/form-data; boundary="${boundary}"` };
    return await new Response(new Uint8Array(body), { headers }).formData();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw badRequest(`the body is no multipart/form-data that can be read: ${reason}`);
  }
}

function tooManyFiles() {
  return badRequest(
    `the form has more parts than are taken, and at most ${mostPictures} files are: send them in several requests`,
  );
}

function thresholdOf(text: string): number {
  const value = Number(text);
  if (/^[\d.e-]{1,24}$/.test(text) && value >= 0 && value <= 1) return value;
  throw badRequest(`'threshold' must be a number from 0 to 1, not ${JSON.stringify(text.slice(0, 50))}`);
}

function topOf(text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value >= 1 && value <= mostTop) return value;
  throw badRequest(`'top_n' must be a whole number from 1 to ${mostTop}, not ${JSON.stringify(text.slice(0, 50))}`);
}
