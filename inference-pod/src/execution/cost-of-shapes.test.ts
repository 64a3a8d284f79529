import { describe, expect, test } from '@jest/globals';
import { CostOfShapes } from './cost-of-shapes.ts';

function proven(shapes: string, costs = new CostOfShapes()): CostOfShapes {
  for (let run = 0; run < 20; run++) costs.measured(shapes, 0.0001);
  return costs;
}

describe('shapes are proven', () => {
  test('by twenty cheap runs, of which one that is not takes back as many, each by itself', () => {
    const costs = new CostOfShapes();
    const cheap = (runs: number) => {
      for (let run = 0; run < runs; run++) costs.measured('a', 0.0001);
    };
    cheap(19);
    costs.measured('a', 0.002);
    cheap(19);
    expect(costs.isProven('a')).toBe(false);
    cheap(1);
    expect(costs.isProven('a')).toBe(true);
    expect(costs.isProven('b')).toBe(false);
  });

  test('never by runs of which every second takes long', () => {
    const costs = new CostOfShapes();
    for (let run = 0; run < 1000; run++) costs.measured('a', run % 2 === 0 ? 0.0001 : 0.002);
    expect(costs.isProven('a')).toBe(false);
  });

  test('no more of them than can be kept, but whichever are asked for', () => {
    const costs = new CostOfShapes();
    for (let shape = 0; shape < 1000; shape++) proven(String(shape), costs);
    expect(costs.isProven('0')).toBe(false);
    expect(costs.isProven('999')).toBe(true);
    // What is asked for once makes nobody who is proven go.
    for (let shape = 1000; shape < 2000; shape++) costs.measured(String(shape), 0.0001);
    expect(costs.isProven('998')).toBe(true);
  });
});

describe('shapes are taken off the serving thread', () => {
  test('by runs that go on to be slow, not by one that was disturbed', () => {
    const costs = proven('a');
    expect(costs.ranHere('a', 0.03)).toBe(false);
    for (let run = 0; run < 200; run++) expect(costs.ranHere('a', 0.0001)).toBe(false);
    let runs = 0;
    while (!costs.ranHere('a', 0.003)) runs++;
    expect(runs).toBeLessThan(64);
    expect(costs.isProven('a')).toBe(false);
  });

  test('by one that is very slow', () => {
    const costs = proven('a');
    expect(costs.ranHere('a', 0.1)).toBe(true);
  });

  test('and come back when they are proven again, by more runs each time', () => {
    const costs = proven('a');
    for (const runs of [80, 320, 1280, 5120]) {
      expect(costs.isProven('a')).toBe(true);
      expect(costs.ranHere('a', 0.1)).toBe(true);
      for (let run = 0; run < runs; run++) {
        expect(costs.isProven('a')).toBe(false);
        costs.measured('a', 0.0001);
      }
    }
    expect(costs.isProven('a')).toBe(true);
  });
});
