// Wall-clock arithmetic in a named time zone, on top of Intl alone. Instants are ms since the epoch.

export interface Wall {
  year: number;
  month: number; // 1..12
  day: number;
  hour: number;
  minute: number;
  second: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string): Intl.DateTimeFormat {
  let found = formats.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat('en-CA', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    formats.set(zone, found);
  }
  return found;
}

/** The zone, or UTC where this browser does not know it. */
export function knownZone(zone: string): string {
  try {
    format(zone);
    return zone;
  } catch {
    return 'UTC';
  }
}

export function wall(instant: number, zone: string): Wall {
  const out: Record<string, number> = {};
  for (const part of format(zone).formatToParts(instant)) {
    if (part.type !== 'literal') out[part.type] = Number(part.value);
  }
  return out as unknown as Wall;
}

// Zone offsets change on quarter hours at most, so one look-up serves 15 minutes.
const QUARTER = 900_000;
const offsets = new Map<string, number>();

/** Wall clock minus UTC, in ms. */
export function offset(instant: number, zone: string): number {
  if (zone === 'UTC') return 0;
  const quarter = Math.floor(instant / QUARTER);
  const key = `${zone}:${quarter}`;
  let found = offsets.get(key);
  if (found === undefined) {
    const start = quarter * QUARTER;
    const w = wall(start, zone);
    found = Date.UTC(w.year, w.month - 1, w.day, w.hour, w.minute, w.second) - start;
    if (offsets.size > 20_000) offsets.clear();
    offsets.set(key, found);
  }
  return found;
}

/** The instant of a wall-clock time. Inside a DST gap the time after it; of an ambiguous one the earlier. */
export function instant(w: Partial<Wall> & { year: number; month: number; day: number }, zone: string): number {
  const naive = Date.UTC(w.year, w.month - 1, w.day, w.hour ?? 0, w.minute ?? 0, w.second ?? 0);
  const a = naive - offset(naive - 86_400_000, zone);
  const b = naive - offset(naive + 86_400_000, zone);
  const candidates = [Math.min(a, b), Math.max(a, b)];
  for (const candidate of candidates) {
    if (candidate + offset(candidate, zone) === naive) return candidate;
  }
  return candidates[1]!;
}

export function startOfDay(at: number, zone: string): number {
  const w = wall(at, zone);
  return instant({ year: w.year, month: w.month, day: w.day }, zone);
}

export function addDays(at: number, days: number, zone: string): number {
  const w = wall(at, zone);
  return instant({ ...w, day: w.day + days }, zone);
}

const two = (n: number) => String(n).padStart(2, '0');

/** `2025-08-01` */
export function isoDate(at: number, zone: string): string {
  const w = wall(at, zone);
  return `${w.year}-${two(w.month)}-${two(w.day)}`;
}

/** `2025-08-01T10:00:00`, without an offset. */
export function isoWall(at: number, zone: string): string {
  const w = wall(at, zone);
  return `${w.year}-${two(w.month)}-${two(w.day)}T${two(w.hour)}:${two(w.minute)}:${two(w.second)}`;
}

/** Reads `2025-08-01`, `2025-08-01 10:00` or `2025-08-01T10:00:00` as a wall-clock time. */
export function parseWall(text: string, zone: string): number | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?/.exec(text.trim());
  if (!match) return null;
  const [year, month, day, hour, minute, second] = match.slice(1).map((part) => Number(part ?? 0));
  return instant({ year: year!, month: month!, day: day!, hour: hour!, minute: minute!, second: second! }, zone);
}
