// Which stretch of time is on screen, and how it moves. Pure arithmetic on ms since the epoch.

export interface View {
  from: number;
  to: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
export const SHORTEST = 5 * MINUTE;
export const LONGEST = 2 * 366 * DAY;

export const SPANS: { key: string; text: string; ms: number }[] = [
  { key: '1d', text: '24 h', ms: DAY },
  { key: '7d', text: '7 days', ms: 7 * DAY },
  { key: '30d', text: '30 days', ms: 30 * DAY },
  { key: '90d', text: '90 days', ms: 90 * DAY },
  { key: '1y', text: '1 year', ms: 366 * DAY },
];

/** Keeps the span and the place within reason: never far into the future. */
export function clamp(view: View, now: number): View {
  let span = Math.min(Math.max(view.to - view.from, SHORTEST), LONGEST);
  if (!Number.isFinite(span)) span = DAY;
  const latest = now + span * 0.25;
  let from = Math.min(view.from, latest - span);
  from = Math.max(from, now - 20 * 366 * DAY);
  return { from, to: from + span };
}

/** Zooms by `factor` (below 1 comes closer) and keeps the moment `around` where it is. */
export function zoom(view: View, factor: number, around: number, now: number): View {
  const span = Math.min(Math.max((view.to - view.from) * factor, SHORTEST), LONGEST);
  const part = (around - view.from) / (view.to - view.from);
  const from = around - part * span;
  return clamp({ from, to: from + span }, now);
}

export function pan(view: View, ms: number, now: number): View {
  return clamp({ from: view.from + ms, to: view.to + ms }, now);
}

/** The last `ms`, with a little room behind now. */
export function latest(ms: number, now: number): View {
  return { from: now - ms, to: now + ms * 0.02 };
}

// Time is cut into tiles: at level L a tile is 2^L hours long. A view is drawn from the level whose tiles are
// at least as long as the view and less than twice as long, so that two tiles always suffice.
export const MAX_LEVEL = 15;

export function levelOf(span: number): number {
  return Math.min(MAX_LEVEL, Math.max(0, Math.ceil(Math.log2(span / HOUR))));
}

export function tileSpan(level: number): number {
  return HOUR * 2 ** level;
}

export function tilesOf(view: View, level: number): number[] {
  const span = tileSpan(level);
  const out: number[] = [];
  for (let index = Math.floor(view.from / span); index * span < view.to; index++) out.push(index);
  return out;
}

/** Sessions that are closer to each other than this are drawn as one. */
export function resolution(level: number): number {
  return tileSpan(level) / 4000;
}
