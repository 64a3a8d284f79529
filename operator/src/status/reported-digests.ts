import { annotations } from '../api/names.ts';
import type { Observed } from '../observed.ts';

/** The digests that the pods of a revision report, each with the names of the pods. */
export function reportedDigests({ pods, reports }: Observed, revision: string): ReadonlyMap<string, readonly string[]> {
  const digests = new Map<string, string[]>();
  for (const { metadata } of pods) {
    const report = reports.get(metadata.name);
    if (report === undefined || metadata.annotations?.[annotations.revision] !== revision) continue;
    digests.set(report.digest, [...(digests.get(report.digest) ?? []), metadata.name]);
  }
  return digests;
}
