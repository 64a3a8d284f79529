import type { CanaryTrack, Gate, HistoryEntry, Rollout, Track } from './rollout.ts';

/** A rollout as lines of text. */
export function rolloutLines(
  { name, namespace, message, ready, why, serving, canary, events }: Rollout,
  now: Date,
): string[] {
  const servingShare = canary === undefined || canary.state === 'Promoting' ? 100 : 100 - canary.weight;
  return [
    `${name} in ${namespace}: ${message || 'not seen yet'}${ready ? ', Ready' : ''}`,
    trackLine('stable', serving, servingShare),
    ...(canary === undefined ? [] : [trackLine('canary', canary, canary.weight), ...canaryLines(canary, now)]),
    ...(ready || why === '' ? [] : [`  ${why}`]),
    ...(events.length === 0 ? [] : ['events']),
    ...events.map(({ time, reason, message: told }) => `  ${age(time, now).padStart(5)}  ${reason}: ${told}`),
  ];
}

function trackLine(track: string, { version, revision, ready, pods }: Track, percent: number): string {
  const bar = '#'.repeat(Math.round(percent / 5)).padEnd(20, '.');
  return `  ${track}  ${bar} ${String(percent).padStart(3)} %  version ${version || '?'}  ${revision}  ${ready} of ${pods} pods ready`;
}

function canaryLines(
  { state, step, steps, since, holdSeconds, isPaused, waitsFor, gates }: CanaryTrack,
  now: Date,
): string[] {
  const left = holdSeconds === undefined ? undefined : holdSeconds - secondsSince(since, now);
  const how = [
    `step ${step} of ${steps}`,
    `${state} for ${age(since, now)}`,
    ...(isPaused ? ['paused'] : []),
    ...(state === 'Holding' && left !== undefined && left > 0 ? [`${duration(left)} left`] : []),
    ...(waitsFor === '' ? [] : [waitsFor]),
  ];
  return [`  ${how.join(', ')}`, ...gates.map(gateLine)];
}

function gateLine(gate: Gate): string {
  return `  gate ${gate.gate}: ${gate.verdict} (${foundBy(gate)})`;
}

function foundBy({ requests, value, lower, upper, message }: Gate): string {
  if (value === '') return message || 'nothing counted yet';
  if (lower === '' && upper === '') return `${value}, after ${requests} intervals`;
  return `${value} of ${requests} requests, surely ${lower || '0%'} to ${upper || 'anything'}`;
}

/** The revisions that are kept, newest first. */
export function historyLines(history: readonly HistoryEntry[], current: string, now: Date): string[] {
  const rows = history.map(({ number, version, revision, healthySince }) => [
    String(number),
    version,
    revision,
    healthySince === '' ? 'never' : `${age(healthySince, now)} ago`,
    revision === current ? 'serves' : '',
  ]);
  const all = [['NUMBER', 'VERSION', 'REVISION', 'HEALTHY SINCE', ''], ...rows];
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function secondsSince(time: string, now: Date): number {
  return Math.max(0, Math.round((now.getTime() - Date.parse(time)) / 1000));
}

function age(time: string, now: Date): string {
  return Number.isNaN(Date.parse(time)) ? '?' : duration(secondsSince(time, now));
}

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}
