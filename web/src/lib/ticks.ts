// Where the marks of a time axis stand: on round wall-clock times of the zone, DST changes included.
import { clock } from './time';
import { instant, offset, wall } from './zone';

export interface Tick {
  at: number;
  label: string;
  /** A day, month or year begins here. */
  major: boolean;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * MINUTE).concat([1, 2, 3, 6, 12].map((n) => n * HOUR));
const DAY_STEPS = [1, 2, 7, 14];
const MONTH_STEPS = [1, 2, 3, 6, 12];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

export function ticks(from: number, to: number, most: number, zone: string): Tick[] {
  const smallest = (to - from) / Math.max(1, most);
  const step = STEPS.find((candidate) => candidate >= smallest);
  if (step) return clockTicks(from, to, step, zone);
  const days = DAY_STEPS.find((candidate) => candidate * DAY >= smallest);
  if (days) return dayTicks(from, to, days, zone);
  const months = MONTH_STEPS.find((candidate) => candidate * 30 * DAY >= smallest) ?? Math.ceil(smallest / (365 * DAY)) * 12;
  return monthTicks(from, to, months, zone);
}

function clockTicks(from: number, to: number, step: number, zone: string): Tick[] {
  const out: Tick[] = [];
  let at = from;
  while (at <= to) {
    // The next multiple of the step on the wall clock; a DST change moves it, so it is looked up anew.
    const shift = offset(at, zone);
    const target = Math.ceil((at + shift) / step) * step;
    let next = target - shift;
    const after = offset(next, zone);
    if (after !== shift && target - after >= at && offset(target - after, zone) === after) next = target - after;
    if (next > to) break;
    if (next >= at) {
      const w = wall(next, zone);
      const midnight = w.hour === 0 && w.minute === 0;
      out.push({ at: next, label: midnight ? dayLabel(next, zone) : clock(next, zone), major: midnight });
    }
    at = Math.max(next, at) + 1;
  }
  return out;
}

function dayTicks(from: number, to: number, days: number, zone: string): Tick[] {
  const out: Tick[] = [];
  const w = wall(from, zone);
  for (let day = w.day; ; day++) {
    const at = instant({ year: w.year, month: w.month, day }, zone);
    if (at > to) return out;
    const number = Math.floor((at + offset(at, zone)) / DAY);
    const onStep = days < 7 ? number % days === 0 : (number + 3) % days === 0; // weeks begin on Monday
    if (at >= from && onStep) out.push({ at, label: dayLabel(at, zone), major: days < 7 ? (number + 3) % 7 === 0 : wall(at, zone).day <= days });
  }
}

function monthTicks(from: number, to: number, months: number, zone: string): Tick[] {
  const out: Tick[] = [];
  const w = wall(from, zone);
  for (let month = w.month; ; month++) {
    const at = instant({ year: w.year, month, day: 1 }, zone);
    if (at > to) return out;
    const here = wall(at, zone);
    if (at >= from && (here.year * 12 + here.month - 1) % months === 0) {
      out.push({ at, label: here.month === 1 ? String(here.year) : MONTHS[here.month - 1]!, major: here.month === 1 });
    }
  }
}

function dayLabel(at: number, zone: string): string {
  const w = wall(at, zone);
  const weekday = WEEKDAYS[new Date(Date.UTC(w.year, w.month - 1, w.day)).getUTCDay()];
  return `${weekday} ${w.day} ${MONTHS[w.month - 1]}`;
}
