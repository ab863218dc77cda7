// Reads a recording (asciicast version 2) as it arrives, and computes what the player and its bar need: the events,
// how busy each stretch was, and the times with the idle stretches taken out.

export type CastEvent = [time: number, code: string, data: string];

export interface Cast {
  cols: number;
  rows: number;
  /** Times in seconds since the start. */
  events: CastEvent[];
  duration: number;
  /** Lines that are no events: a cut last one, or damage. */
  unread: number;
}

/** Takes bytes in any pieces; a character cut in two by a piece stays whole. */
export class CastReader {
  readonly #decoder = new TextDecoder();
  #rest = '';
  #cast: Cast = { cols: 80, rows: 24, events: [], duration: 0, unread: 0 };
  #head = false;

  push(bytes: Uint8Array): void {
    this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  finish(): Cast {
    this.#take(this.#decoder.decode());
    if (this.#rest.trim()) this.#line(this.#rest);
    this.#rest = '';
    const last = this.#cast.events.at(-1);
    this.#cast.duration = last ? last[0] : 0;
    return this.#cast;
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim()) this.#line(line);
  }

  #line(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.#cast.unread += 1;
      return;
    }
    if (Array.isArray(value)) {
      if (typeof value[0] === 'number' && typeof value[1] === 'string') this.#cast.events.push([value[0], value[1], String(value[2] ?? '')]);
      else this.#cast.unread += 1;
    } else if (!this.#head && typeof value === 'object' && value) {
      this.#head = true;
      const { width, height } = value as { width?: number; height?: number };
      this.#cast.cols = width && width > 0 ? width : 80;
      this.#cast.rows = height && height > 0 ? height : 24;
    }
  }
}

/** Real times and played times: where longer than `idle` seconds nothing happened, the rest is skipped. */
export class Timeline {
  readonly events: CastEvent[];
  readonly duration: number;
  readonly #real: number[] = [0];
  readonly #played: number[] = [0];

  constructor(cast: Cast, idle: number | null) {
    let before = 0;
    let skipped = 0;
    const events: CastEvent[] = [];
    for (const [time, code, data] of cast.events) {
      const pause = time - before;
      if (idle !== null && pause > idle) {
        // The pause itself keeps `idle` seconds; then it jumps.
        this.#real.push(before + idle, time);
        this.#played.push(before - skipped + idle, before - skipped + idle);
        skipped += pause - idle;
      }
      events.push([time - skipped, code, data]);
      before = time;
    }
    this.events = events;
    this.duration = Math.max(0, before - skipped);
    this.#real.push(Math.max(before, cast.duration));
    this.#played.push(this.duration + Math.max(0, cast.duration - before));
  }

  played(real: number): number {
    return between(this.#real, this.#played, real);
  }
  real(played: number): number {
    return between(this.#played, this.#real, played);
  }
}

function between(from: number[], to: number[], at: number): number {
  let low = 0;
  let high = from.length - 1;
  if (at <= from[0]!) return to[0]!;
  if (at >= from[high]!) return to[high]!;
  // The last point at or before `at`.
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (from[middle]! <= at) low = middle;
    else high = middle;
  }
  const span = from[high]! - from[low]!;
  return span <= 0 ? to[high]! : to[low]! + ((at - from[low]!) / span) * (to[high]! - to[low]!);
}

/** How much was shown in each of `count` equal stretches, from 0 to 1; the busiest is 1. Grows with the logarithm,
 *  so that a screenful is seen beside a flood. */
export function activity(cast: Pick<Cast, 'events' | 'duration'>, count: number): number[] {
  const sums = new Array<number>(count).fill(0);
  const span = cast.duration || 1;
  for (const [time, code, data] of cast.events) {
    if (code !== 'o') continue;
    const index = Math.min(count - 1, Math.floor((time / span) * count));
    sums[index]! += data.length;
  }
  const most = Math.log1p(Math.max(0, ...sums));
  return sums.map((sum) => (most ? Math.log1p(sum) / most : 0));
}
