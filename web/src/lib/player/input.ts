// What was done with mouse and keyboard while a desktop was recorded: when there was much of it, and when nothing.
import type { InputEvent } from '../api/access';

/** What each kind counts: a key is an act, a move of the pointer hardly. */
const WEIGHT: Record<string, number> = { key: 3, click: 3, scroll: 2, move: 1 };

/** How much was done in each of `count` equal stretches of `whole` milliseconds, from 0 to 1. */
export function busyness(events: InputEvent[], whole: number, count: number): number[] {
  const sums = new Array<number>(count).fill(0);
  for (const event of events) {
    const index = Math.min(count - 1, Math.max(0, Math.floor((event.elapsed / Math.max(1, whole)) * count)));
    sums[index]! += WEIGHT[event.event_type] ?? 1;
  }
  const most = Math.log1p(Math.max(0, ...sums));
  return sums.map((sum) => (most ? Math.log1p(sum) / most : 0));
}

export interface Pause {
  from: number;
  to: number;
}

/** Kept on both sides of what is skipped: who reads what appeared needs a moment. */
const AROUND = 2000;

/** Where nothing was done for longer than `idle` milliseconds. Of a session in which nothing was done at all nothing is skipped. */
export function pauses(events: InputEvent[], whole: number, idle: number): Pause[] {
  const found: Pause[] = [];
  if (!events.length) return found;
  let last = 0;
  const add = (from: number, to: number) => {
    if (to - from > idle + 2 * AROUND) found.push({ from: from + AROUND, to: to - AROUND });
  };
  for (const event of events) {
    add(last, event.elapsed);
    last = Math.max(last, event.elapsed);
  }
  if (whole - last > idle + 2 * AROUND) found.push({ from: last + AROUND, to: whole - AROUND });
  return found;
}

/** Where to go on from a moment that is within a pause; `null` where it is not. */
export function past(pauses: Pause[], at: number): number | null {
  let low = 0;
  let high = pauses.length;
  // The first pause that ends after `at`.
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pauses[middle]!.to <= at) low = middle + 1;
    else high = middle;
  }
  const pause = pauses[low];
  return pause && pause.from <= at ? pause.to : null;
}

/** Keys that say nothing alone. */
const WITH_OTHERS = new Set(['Shift', 'AltGraph']);

/** Which keys were pressed in the last `span` milliseconds before a moment, oldest first; the last `most` of them. Events are in order. */
export function pressed(events: InputEvent[], at: number, span: number, most: number): string[] {
  const found: string[] = [];
  for (let i = after(events, at) - 1; i >= 0 && events[i]!.elapsed > at - span && found.length < most; i--) {
    const { key } = events[i]!;
    if (key !== undefined && !WITH_OTHERS.has(key)) found.unshift(key);
  }
  return found;
}

/** How many events are not later than a moment. */
function after(events: InputEvent[], at: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle]!.elapsed <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}
