// What the calendar shows of many sessions: each one while they are few, else how many devices were here.
import type { CalendarSession } from '../../lib/api/types';
import { duration } from '../../lib/time';

/** Beyond this many sessions a calendar of bars is no longer read by anybody. */
export const MOST_BARS = 400;

export interface Bar {
  id: string;
  title: string;
  start: string;
  end: string;
  color: string;
  contrastColor: string;
  allDay: boolean;
  extendedProps: { tooltip: string; mac: string | null; day: string | null; share: number };
}

export function bars(sessions: CalendarSession[], name: (mac: string) => string): Bar[] {
  return sessions.map((session, i) => ({
    id: `${session.resourceId}-${session.start}-${i}`,
    title: session.title || name(session.resourceId) || duration(naive(session.end) - naive(session.start)),
    start: session.start,
    end: session.end,
    color: session.color,
    // White is readable on the blue only.
    contrastColor: session.color === '#0073b7' ? '#ffffff' : '#0b1310',
    allDay: false,
    extendedProps: { tooltip: session.tooltip, mac: session.resourceId, day: null, share: 0 },
  }));
}

const HOUR = 3_600_000;

// The server's times carry no zone: they are wall-clock times, and are counted as if they were UTC.
const naive = (text: string) => Date.parse(`${text.slice(0, 19)}Z`);
const written = (ms: number) => new Date(ms).toISOString().slice(0, 19);

/** How many devices were here in each `step` (an hour or a day), as one bar each. */
export function crowd(sessions: CalendarSession[], from: number, to: number, step: number, color: string): Bar[] {
  const devices = new Map<number, Set<string>>();
  const count = new Map<number, number>();
  for (const session of sessions) {
    const start = Math.max(from, naive(session.start));
    const end = Math.min(to, Math.max(naive(session.end), start + 1));
    for (let slot = Math.floor(start / step) * step; slot < end; slot += step) {
      const set = devices.get(slot) ?? new Set();
      devices.set(slot, set);
      set.add(session.resourceId);
      count.set(slot, (count.get(slot) ?? 0) + 1);
    }
  }
  const most = Math.max(1, ...[...devices.values()].map((set) => set.size));
  return [...devices.entries()]
    .filter(([slot]) => slot < to && slot + step > from)
    .sort((a, b) => a[0] - b[0])
    .map(([slot, set]) => {
      const n = set.size;
      const text = n === 1 ? '1 device' : `${n} devices`;
      return {
        id: `crowd-${slot}`,
        title: text,
        start: written(slot),
        end: written(slot + step),
        color,
        contrastColor: 'var(--ink)',
        allDay: step > HOUR,
        extendedProps: { tooltip: `${text} here, ${count.get(slot)} sessions`, mac: null, day: written(slot).slice(0, 10), share: n / most },
      };
    });
}
