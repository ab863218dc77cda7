// Loads and keeps pieces of the timeline: a tile of time by a page of devices. Knows nothing of drawing.
import type { DeviceState, Gap, PackedInterval, PresenceTimeline } from '../api/types';
import { levelOf, MAX_LEVEL, tileSpan, tilesOf, type View } from './view';

export const ROWS_PER_PAGE = 50;
const MOST_TILES = 400;
const AT_ONCE = 4;
/** After a failure, before asking again by itself. */
const PAUSE_MS = 5000;

/** The sessions of one device within one tile, in order of time. */
export interface Strip {
  starts: Float64Array;
  ends: Float64Array;
  flags: Uint8Array;
}

export interface Row {
  mac: string;
  name: string;
  state: DeviceState;
}

interface Tile {
  strips: Strip[];
  stale: boolean;
  used: number;
}

export function pack(intervals: PackedInterval[]): Strip {
  const starts = new Float64Array(intervals.length);
  const ends = new Float64Array(intervals.length);
  const flags = new Uint8Array(intervals.length);
  intervals.forEach(([start, end, flag], i) => {
    starts[i] = start;
    ends[i] = end;
    flags[i] = flag;
  });
  return { starts, ends, flags };
}

/** The first interval that ends after `at`. */
export function firstAfter(strip: Strip, at: number): number {
  let low = 0;
  let high = strip.ends.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (strip.ends[middle]! > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

interface Wanted {
  key: string;
  level: number;
  index: number;
  page: number;
}

type Fetch = (from: number, to: number, page: number, signal: AbortSignal) => Promise<PresenceTimeline>;

export class Tiles {
  total: number | null = null;
  rows: (Row | undefined)[] = [];
  gaps = new Map<string, Gap>();
  error: unknown = null;

  #tiles = new Map<string, Tile>();
  #wanted: Wanted[] = [];
  #running = new Map<string, AbortController>();
  #clock = 0;
  #failedAt = 0;

  constructor(
    private fetch: Fetch,
    /** Something arrived, or failed. */
    private changed: () => void,
  ) {}

  get loading(): boolean {
    return this.#running.size > 0;
  }

  restart(): void {
    for (const abort of this.#running.values()) abort.abort();
    this.#running.clear();
    this.#tiles.clear();
    this.#wanted = [];
    this.total = null;
    this.rows = [];
    this.gaps.clear();
    this.error = null;
  }

  retry(): void {
    this.error = null;
    this.#failedAt = 0;
    this.changed();
  }

  /** What happened since `from` has to be asked for again. */
  expire(from: number): void {
    for (const [key, tile] of this.#tiles) {
      const [level, index] = key.split(':').map(Number) as [number, number];
      if ((index + 1) * tileSpan(level) > from) tile.stale = true;
    }
  }

  /** Sees to it that these rows and this stretch get loaded, what is on screen first. */
  want(view: View, firstRow: number, lastRow: number): void {
    const level = levelOf(view.to - view.from);
    const last = Math.max(firstRow, (this.total === null ? firstRow + 1 : Math.min(lastRow, this.total)) - 1);
    const wanted: Wanted[] = [];
    for (let page = Math.floor(firstRow / ROWS_PER_PAGE); page <= Math.floor(last / ROWS_PER_PAGE); page++) {
      const indexes = tilesOf(view, level);
      for (const index of indexes) wanted.push({ key: `${level}:${index}:${page}`, level, index, page });
    }
    const ahead = tilesOf(view, level);
    const page = Math.floor(firstRow / ROWS_PER_PAGE);
    for (const index of [ahead[0]! - 1, ahead.at(-1)! + 1]) wanted.push({ key: `${level}:${index}:${page}`, level, index, page });
    this.#wanted = wanted.filter(({ key, index, level: at }) => {
      const tile = this.#tiles.get(key);
      return (!tile || tile.stale) && !this.#running.has(key) && index * tileSpan(at) < Date.now();
    });
    for (const [key, abort] of this.#running) {
      if (!wanted.some((one) => one.key === key)) abort.abort();
    }
    this.#next();
  }

  /** The best that is there for a row and a tile: that tile, else a coarser one around it. */
  find(level: number, index: number, row: number): Strip | null {
    const page = Math.floor(row / ROWS_PER_PAGE);
    for (let at = level, i = index; at <= MAX_LEVEL; at++, i = Math.floor(i / 2)) {
      const tile = this.#tiles.get(`${at}:${i}:${page}`);
      if (tile) {
        tile.used = ++this.#clock;
        return tile.strips[row % ROWS_PER_PAGE] ?? null;
      }
    }
    return null;
  }

  #next(): void {
    if (Date.now() < this.#failedAt + PAUSE_MS) return;
    while (this.#running.size < AT_ONCE && this.#wanted.length) {
      const { key, level, index, page } = this.#wanted.shift()!;
      const abort = new AbortController();
      this.#running.set(key, abort);
      const span = tileSpan(level);
      this.fetch(index * span, (index + 1) * span, page + 1, abort.signal)
        .then((answer) => this.#store(key, page, answer))
        .catch((error) => {
          if (abort.signal.aborted) return;
          this.error = error;
          this.#failedAt = Date.now();
        })
        .finally(() => {
          if (this.#running.get(key) === abort) this.#running.delete(key);
          if (!abort.signal.aborted) this.changed();
          this.#next();
        });
    }
  }

  #store(key: string, page: number, answer: PresenceTimeline): void {
    if (!this.#running.has(key)) return;
    this.error = null;
    this.total = answer.total;
    this.rows.length = answer.total;
    answer.devices.forEach((device, i) => (this.rows[page * ROWS_PER_PAGE + i] = device));
    for (const gap of answer.gaps) this.gaps.set(`${gap.sourceId}:${gap.from}`, gap);
    this.#tiles.set(key, { strips: answer.devices.map((device) => pack(device.intervals)), stale: false, used: ++this.#clock });
    if (this.#tiles.size > MOST_TILES) {
      const oldest = [...this.#tiles.entries()].sort((a, b) => a[1].used - b[1].used).slice(0, MOST_TILES / 4);
      for (const [old] of oldest) this.#tiles.delete(old);
    }
  }
}
