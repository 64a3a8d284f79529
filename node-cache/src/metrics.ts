import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ModelStore } from './model-store.ts';

/** What became of a request. */
export const outcomes = ['hit', 'miss', 'kept', 'refused', 'failed'] as const;
export type Outcome = (typeof outcomes)[number];

export interface Metrics {
  readonly contentType: string;
  exposition(): Promise<string>;
  count(outcome: Outcome): void;
  countEvicted(): void;
}

/** @param store which is opened later than this */
export function createMetrics(store: () => ModelStore | undefined): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const requests = new Counter({
    name: 'slipway_node_cache_requests_total',
    help: 'Requests of pods: models that were sent (hit), are not here (miss), were kept, were refused, or failed.',
    labelNames: ['outcome'],
    registers,
  });
  for (const outcome of outcomes) requests.inc({ outcome }, 0);
  const evicted = new Counter({
    name: 'slipway_node_cache_evictions_total',
    help: 'Models that had to make room for others.',
    registers,
  });
  new Gauge({
    name: 'slipway_node_cache_models',
    help: 'Models that are kept.',
    registers,
    collect() {
      this.set(store()?.models ?? 0);
    },
  });
  new Gauge({
    name: 'slipway_node_cache_bytes',
    help: 'Bytes of the models that are kept.',
    registers,
    collect() {
      this.set(store()?.bytes ?? 0);
    },
  });
  return {
    contentType: registry.contentType,
    exposition: () => registry.metrics(),
    count: (outcome) => requests.inc({ outcome }),
    countEvicted: () => evicted.inc(),
  };
}
