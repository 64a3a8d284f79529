/** Pixels of some channels of a byte each, in rows from the top; the first three are red, green and blue, or there is only one. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly pixels: Uint8Array;
}
type Point = readonly [x: number, y: number];
/** A rectangle in a picture, in any position: its first corner, and the ways from there to both neighbours. */
export interface Frame {
  readonly origin: Point;
  readonly right: Point;
  readonly down: Point;
}
/** @throws what a client is told, for what is no PNG or JPEG, or is too large */
export declare function pictureIn(body: Uint8Array): Picture;
/** Where what is sampled is put. */
export interface Planes {
  readonly into: Float32Array;
  /** Where the first plane begins. */
  readonly offset: number;
  /** The elements of a row, of which only so many columns are written. */
  readonly stride: number;
  readonly columns: number;
  readonly rows: number;
}
/** Writes what is in a frame as planes of blue, green and red, from -1 to 1: a place between pixels in proportion, a larger one as its mean. */
export declare function sample(picture: Picture, { origin, right, down }: Frame, planes: Planes): void;
