// Times as people read them. The zone is the server's, so that everybody sees the same clock.
import { isoDate, wall } from './zone';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const two = (n: number) => String(n).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

export function clock(at: number, zone: string, seconds = false): string {
  const w = wall(at, zone);
  return `${two(w.hour)}:${two(w.minute)}${seconds ? `:${two(w.second)}` : ''}`;
}

/** `2025-08-01 10:00:07`, for evidence. */
export function exact(at: number, zone: string): string {
  return `${isoDate(at, zone)} ${clock(at, zone, true)}`;
}

/** `1 Aug`, with the year when it is not `now`'s. */
export function day(at: number, zone: string, now = Date.now()): string {
  const w = wall(at, zone);
  const year = w.year === wall(now, zone).year ? '' : ` ${w.year}`;
  return `${w.day} ${MONTHS[w.month - 1]}${year}`;
}

/** `just now`, `3 min ago`, `today 10:00`, `yesterday 10:00`, `1 Aug 10:00`, `1 Aug 2024`. */
export function relative(at: number, zone: string, now = Date.now()): string {
  const past = now - at;
  if (past < 0) return past > -5_000 ? 'just now' : `${day(at, zone, now)} ${clock(at, zone)}`;
  if (past < 45_000) return 'just now';
  if (past < 59.5 * MINUTE) return `${Math.max(1, Math.round(past / MINUTE))} min ago`;
  const today = isoDate(now, zone);
  const date = isoDate(at, zone);
  if (date === today) return `today ${clock(at, zone)}`;
  if (past < 2 * DAY && date === isoDate(now - (wall(now, zone).hour * HOUR + HOUR), zone)) return `yesterday ${clock(at, zone)}`;
  if (wall(at, zone).year !== wall(now, zone).year) return day(at, zone, now);
  return `${day(at, zone, now)} ${clock(at, zone)}`;
}

/** `12 s`, `45 min`, `2 h 5 min`, `3 d 4 h`: two units at most. */
export function duration(ms: number): string {
  if (ms < 0) ms = 0;
  if (ms < MINUTE) return `${Math.floor(ms / 1000)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return pair(Math.floor(ms / HOUR), 'h', Math.floor((ms % HOUR) / MINUTE), 'min');
  return pair(Math.floor(ms / DAY), 'd', Math.floor((ms % DAY) / HOUR), 'h');
}

function pair(big: number, bigUnit: string, small: number, smallUnit: string): string {
  return small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;
}

/** `30 s`, `5 min`, `1 h`: a schedule's period. */
export function period(seconds: number): string {
  return duration(seconds * 1000);
}

export function millis(text: string | null | undefined): number | null {
  if (!text) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}
