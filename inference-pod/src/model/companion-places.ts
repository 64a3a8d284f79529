/** Where files that a model's task needs may be: beside the model, or, as the hub has it, above a folder `onnx` in which that is. */
export function companionPlaces(uri: string): readonly string[] {
  // A host, a bucket or a claim may have that name as well.
  const above = uri.replace(/(?<!\/)\/onnx\/([^/?#]+)(?=$|[?#])/, '/$1');
  return Array.from(new Set([uri, above]));
}
