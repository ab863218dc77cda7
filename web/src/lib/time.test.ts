import { describe, expect, it } from 'vitest';
import { duration, exact, relative } from './time';

const at = (text: string) => Date.parse(text);
const NOW = at('2025-08-02T00:30:00Z');

describe('time', () => {
  it('writes evidence to the second', () => {
    expect(exact(at('2025-08-01T10:00:07Z'), 'Europe/Berlin')).toBe('2025-08-01 12:00:07');
  });

  it.each([
    ['2025-08-02T00:29:50Z', 'just now'],
    ['2025-08-02T00:26:50Z', '3 min ago'],
    ['2025-08-01T23:10:00Z', 'yesterday 23:10'],
    ['2025-07-31T23:10:00Z', '31 Jul 23:10'],
    ['2024-08-01T10:00:00Z', '1 Aug 2024'],
    ['2025-08-03T10:00:00Z', '3 Aug 10:00'],
  ])('tells %s as %s', (text, expected) => {
    expect(relative(at(text), 'UTC', NOW)).toBe(expected);
  });

  it('takes the day of the zone, not of UTC', () => {
    expect(relative(at('2025-08-01T22:30:00Z'), 'Europe/Berlin', NOW)).toBe('today 00:30');
  });

  it.each([
    [-5, '0 s'],
    [59_999, '59 s'],
    [45 * 60_000, '45 min'],
    [2 * 3_600_000, '2 h'],
    [2 * 3_600_000 + 5 * 60_000, '2 h 5 min'],
    [27 * 3_600_000, '1 d 3 h'],
  ])('writes %d ms as %s', (ms, expected) => {
    expect(duration(ms)).toBe(expected);
  });
});
