import { describe, expect, it } from 'vitest';
import { ticks } from './ticks';

const at = (text: string) => Date.parse(text);
const iso = (ms: number) => new Date(ms).toISOString().slice(0, 16);

describe('ticks', () => {
  it('stands on round hours of the wall clock', () => {
    const found = ticks(at('2025-08-01T00:10:00Z'), at('2025-08-01T12:10:00Z'), 6, 'Asia/Kolkata');
    expect(found.map((tick) => tick.label)).toEqual(['06:00', '08:00', '10:00', '12:00', '14:00', '16:00']);
    expect(iso(found[0]!.at)).toBe('2025-08-01T00:30');
  });

  it('keeps to the wall clock across a DST change', () => {
    const labels = ticks(at('2025-03-29T20:00:00Z'), at('2025-03-30T12:00:00Z'), 6, 'Europe/Berlin').map((tick) => tick.label);
    expect(labels).toEqual(['21:00', 'Sun 30 Mar', '03:00', '06:00', '09:00', '12:00']);
  });

  it('repeats no hour and skips none when the clock is put back', () => {
    const labels = ticks(at('2025-10-25T20:00:00Z'), at('2025-10-26T12:00:00Z'), 6, 'Europe/Berlin').map((tick) => tick.label);
    expect(labels).toEqual(['Sun 26 Oct', '03:00', '06:00', '09:00', '12:00']);
  });

  it('counts days as days when one has 23 hours', () => {
    const found = ticks(at('2025-03-28T12:00:00Z'), at('2025-04-01T12:00:00Z'), 6, 'Europe/Berlin');
    expect(found.map((tick) => tick.label)).toEqual(['Sat 29 Mar', 'Sun 30 Mar', 'Mon 31 Mar', 'Tue 1 Apr']);
    expect(found.map((tick) => iso(tick.at))).toEqual(['2025-03-28T23:00', '2025-03-29T23:00', '2025-03-30T22:00', '2025-03-31T22:00']);
  });

  it('names years where they begin', () => {
    const found = ticks(at('2025-10-15T00:00:00Z'), at('2026-04-15T00:00:00Z'), 7, 'UTC');
    expect(found.map((tick) => tick.label)).toEqual(['Nov', 'Dec', '2026', 'Feb', 'Mar', 'Apr']);
    expect(found.find((tick) => tick.label === '2026')?.major).toBe(true);
  });

  it('never exceeds what was asked for by much, from minutes to decades', () => {
    for (let span = 60_000; span < 20 * 366 * 86_400_000; span *= 1.7) {
      const count = ticks(NOW, NOW + span, 10, 'Europe/Berlin').length;
      expect(count).toBeLessThanOrEqual(12);
    }
  });
});
const NOW = at('2025-08-01T00:00:00Z');
