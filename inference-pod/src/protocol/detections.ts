import { shortest } from './text-request.ts';

/** Where pictures are sent for what is in them. */
export const detectionPath = '/v1/detect';

/** Something that is seen in a picture. */
export interface Detection {
  readonly label: string;
  readonly score: number;
  /** Left, top, right and bottom, in pixels of the picture as it is looked at. */
  readonly box: readonly [number, number, number, number];
}

/** What is seen in one picture, the surest first. */
export interface SeenPicture {
  readonly width: number;
  readonly height: number;
  readonly detections: readonly Detection[];
}

/** What `/v1/detect` answers: for each detection what the pipeline of `transformers` gives. */
export function encodeDetections(name: string, pictures: readonly SeenPicture[]): string {
  const data = pictures.map(({ width, height, detections }, index) => ({
    object: 'detections',
    index,
    width,
    height,
    detections: detections.map(({ label, score, box: [xmin, ymin, xmax, ymax] }) => ({
      label,
      score: shortest(score),
      box: { xmin: shortest(xmin), ymin: shortest(ymin), xmax: shortest(xmax), ymax: shortest(ymax) },
    })),
  }));
  return JSON.stringify({ object: 'list', data, model: name });
}
