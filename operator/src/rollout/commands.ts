import type { ModelDeploymentStatus } from '../api/model-deployment.ts';
import { annotations } from '../api/names.ts';
import { withinCharacters } from '../api/text.ts';
import type { Observed } from '../observed.ts';

/** What a person may ask of a canary, by an annotation each: `REVISION` or `REVISION@ANYTHING`. */
export const commandNames = ['promote', 'abort', 'pause', 'resume'] as const;
export type CommandName = (typeof commandNames)[number];

export type Commands = NonNullable<ModelDeploymentStatus['commands']>;

/** As long as the CRD allows. */
const maxLength = 512;

/** The values that the annotations have now; what the status has of them was dealt with. */
export function commandsGiven({ model }: Pick<Observed, 'model'>): Commands {
  return Object.fromEntries(
    commandNames.flatMap((name) => {
      const value = model.metadata.annotations?.[annotations[name]];
      return value === undefined ? [] : [[name, withinCharacters(value, maxLength)] as const];
    }),
  );
}

/** The commands that were not dealt with yet, with the revision that each names. */
export function newCommands(observed: Pick<Observed, 'model'>): ReadonlyMap<CommandName, string> {
  const before = observed.model.status?.commands ?? {};
  const given = commandsGiven(observed);
  return new Map(
    commandNames.flatMap((name) => {
      const value = given[name];
      return value === undefined || value === before[name] ? [] : [[name, value.split('@')[0] ?? ''] as const];
    }),
  );
}
