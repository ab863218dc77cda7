import { expect, test } from 'vitest';
import { fit, Kept, stretch } from './thumbnails';

test('a long film has few stretches, a short one none shorter than half a second', () => {
  expect(stretch(0, 3_600_000)).toEqual({ number: 0, at: 6000 });
  expect(stretch(12_000, 3_600_000).number).toBe(1);
  expect(stretch(3_600_000, 3_600_000).at).toBeLessThanOrEqual(3_600_000);
  expect(stretch(1600, 10_000)).toEqual({ number: 3, at: 1750 });
  expect(stretch(-5, 10_000).number).toBe(0);
  expect(stretch(99_999, 900)).toEqual({ number: 1, at: 750 });
  expect(stretch(0, 0)).toEqual({ number: 0, at: 0 });
});

test('pictures keep their shape, whatever it is', () => {
  const box = { width: 176, height: 120 };
  expect(fit(1280, 720, box)).toEqual({ width: 176, height: 99 });
  expect(fit(600, 1200, box)).toEqual({ width: 60, height: 120 });
  expect(fit(0, 0, box)).toEqual({ width: 1, height: 1 });
  expect(fit(65_535, 1, box)).toEqual({ width: 176, height: 1 });
});

test('what was not used for longest goes first', () => {
  const gone: string[] = [];
  const kept = new Kept<string>(2, (value) => gone.push(value));
  kept.set(1, 'one');
  kept.set(2, 'two');
  expect(kept.get(1)).toBe('one');
  kept.set(3, 'three');
  expect(gone).toEqual(['two']);
  expect([kept.get(1), kept.get(2), kept.get(3)]).toEqual(['one', undefined, 'three']);
  kept.clear();
  expect(gone).toEqual(['two', 'one', 'three']);
});
