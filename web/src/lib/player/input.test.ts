import { expect, test } from 'vitest';
import { busyness, past, pauses, pressed } from './input';

const did = (elapsed: number, event_type = 'key') => ({ elapsed, event_type });

test('keys weigh more than moves, and the busiest stretch is 1', () => {
  const bars = busyness([did(0, 'move'), did(500), did(510), did(999)], 1000, 10);
  expect(bars).toHaveLength(10);
  expect(bars[5]).toBe(1);
  expect(bars[9]).toBeGreaterThan(bars[0]!);
  expect(bars[1]).toBe(0);
  expect(busyness([], 0, 3)).toEqual([0, 0, 0]);
  // What is said to be later than the end is at the end.
  expect(busyness([did(5000)], 1000, 2)).toEqual([0, 1]);
});

test('pauses are skipped but for what is around them', () => {
  const found = pauses([did(1000), did(2000), did(60_000), did(61_000)], 100_000, 5000);
  expect(found).toEqual([
    { from: 4000, to: 58_000 },
    { from: 63_000, to: 98_000 },
  ]);
  expect(past(found, 3999)).toBeNull();
  expect(past(found, 4000)).toBe(58_000);
  expect(past(found, 58_000)).toBeNull();
  expect(past(found, 70_000)).toBe(98_000);
  expect(past(found, 99_000)).toBeNull();
  expect(pauses([], 100_000, 5000)).toEqual([]);
  expect(pauses([did(50)], 5000, 5000)).toEqual([]);
});

test('the keys before a moment are told, as far as they are known', () => {
  const events = [
    { elapsed: 100, event_type: 'key', key: 'x' },
    { elapsed: 5000, event_type: 'key', key: 'l' },
    { elapsed: 5100, event_type: 'key', key: 'Shift' },
    { elapsed: 5200, event_type: 'move' },
    { elapsed: 5300, event_type: 'key', key: 'S' },
    { elapsed: 5400, event_type: 'key', key: 'Enter' },
    did(5500),
  ];
  expect(pressed(events, 5400, 4000, 10)).toEqual(['l', 'S', 'Enter']);
  expect(pressed(events, 5399, 4000, 10)).toEqual(['l', 'S']);
  expect(pressed(events, 5600, 9000, 2)).toEqual(['S', 'Enter']);
  expect(pressed(events, 50, 9000, 2)).toEqual([]);
  expect(pressed([did(1), did(2)], 3, 9000, 9)).toEqual([]);
});
