import { describe, expect, it } from 'vitest';
import type { CalendarSession } from '../../lib/api/types';
import { bars, crowd } from './calendar';

const session = (mac: string, start: string, end: string): CalendarSession => ({ resourceId: mac, title: '', start, end, color: '#00a659', tooltip: 't', className: 'no-border' });
const DAY = 86_400_000;
const at = (text: string) => Date.parse(`${text}T00:00:00Z`);

describe('calendar', () => {
  it('counts devices, not sessions, on every day that they touch', () => {
    const found = crowd(
      [session('A', '2025-08-01T10:00:00', '2025-08-01T11:00:00'), session('A', '2025-08-01T12:00:00', '2025-08-01T13:00:00'), session('B', '2025-08-01T23:00:00', '2025-08-03T00:00:00')],
      at('2025-08-01'),
      at('2025-08-04'),
      DAY,
      'green',
    );
    expect(found.map((bar) => [bar.start.slice(0, 10), bar.title])).toEqual([['2025-08-01', '2 devices'], ['2025-08-02', '1 device']]);
    expect(found[0]!.extendedProps.tooltip).toBe('2 devices here, 3 sessions');
  });

  it('leaves out what is outside', () => {
    expect(crowd([session('A', '2025-07-30T10:00:00', '2025-08-01T01:00:00')], at('2025-08-01'), at('2025-08-02'), DAY, 'green').map((bar) => bar.start)).toEqual(['2025-08-01T00:00:00']);
  });

  it('names a bar by its device, else by how long it was', () => {
    const one = [session('A', '2025-08-01T10:00:00', '2025-08-01T12:00:00')];
    expect(bars(one, () => 'Printer')[0]!.title).toBe('Printer');
    expect(bars(one, () => '')[0]!.title).toBe('2 h');
  });
});
