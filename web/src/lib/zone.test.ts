import { describe, expect, it } from 'vitest';
import { addDays, instant, isoWall, knownZone, offset, parseWall, startOfDay, wall } from './zone';

const BERLIN = 'Europe/Berlin';
const at = (text: string) => Date.parse(text);

describe('zone', () => {
  it('reads the wall clock of a zone', () => {
    expect(wall(at('2025-08-01T10:00:00Z'), BERLIN)).toMatchObject({ year: 2025, month: 8, day: 1, hour: 12, minute: 0 });
    expect(isoWall(at('2025-01-01T23:30:00Z'), BERLIN)).toBe('2025-01-02T00:30:00');
  });

  it('knows offsets on both sides of a change, to the minute', () => {
    expect(offset(at('2025-03-30T00:59:00Z'), BERLIN)).toBe(3_600_000);
    expect(offset(at('2025-03-30T01:00:00Z'), BERLIN)).toBe(7_200_000);
    expect(offset(at('2025-06-01T00:00:00Z'), 'Asia/Kathmandu')).toBe(5.75 * 3_600_000);
  });

  it('turns wall-clock times into instants, through the gap and the fold', () => {
    expect(instant({ year: 2025, month: 8, day: 1, hour: 12 }, BERLIN)).toBe(at('2025-08-01T10:00:00Z'));
    // 02:30 does not exist on this day: the time after the gap.
    expect(instant({ year: 2025, month: 3, day: 30, hour: 2, minute: 30 }, BERLIN)).toBe(at('2025-03-30T01:30:00Z'));
    // 02:30 exists twice on this day: the earlier.
    expect(instant({ year: 2025, month: 10, day: 26, hour: 2, minute: 30 }, BERLIN)).toBe(at('2025-10-26T00:30:00Z'));
  });

  it('adds days that are 23 and 25 hours long', () => {
    const spring = startOfDay(at('2025-03-30T12:00:00Z'), BERLIN);
    expect(addDays(spring, 1, BERLIN) - spring).toBe(23 * 3_600_000);
    const autumn = startOfDay(at('2025-10-26T12:00:00Z'), BERLIN);
    expect(addDays(autumn, 1, BERLIN) - autumn).toBe(25 * 3_600_000);
  });

  it('parses what the server writes', () => {
    expect(parseWall('2025-08-01 10:00', 'UTC')).toBe(at('2025-08-01T10:00:00Z'));
    expect(parseWall('2025-08-01', BERLIN)).toBe(at('2025-07-31T22:00:00Z'));
    expect(parseWall('<missing event>', BERLIN)).toBeNull();
  });

  it('falls back to UTC for a zone that the browser does not know', () => {
    expect(knownZone('Mars/Olympus')).toBe('UTC');
  });
});
