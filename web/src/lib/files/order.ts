// The order of a folder's entries, and which of them are shown.
import type { FileEntry } from '../api/files';
import { under, type WirePath } from './paths';

export interface Row {
  entry: FileEntry;
  path: WirePath;
  /** Whether it is opened as a folder: a link may turn out to be one. */
  folder: boolean;
  dot: boolean;
  /** Its name without the difference of capitals. */
  lower: string;
}
export type SortKey = 'name' | 'size' | 'modified' | 'kind' | 'permissions' | 'owner';
export interface Order {
  by: SortKey;
  dir: 'asc' | 'desc';
}

const PLAIN = /^[\w.~-]*$/;
export function rowOf(entry: FileEntry, folder: WirePath): Row {
  const path = entry.rawPath ?? under(folder, PLAIN.test(entry.name) ? entry.name : encodeURIComponent(entry.name).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`));
  return { entry, path, folder: entry.kind === 'folder', dot: entry.name.startsWith('.'), lower: entry.name.toLowerCase() };
}

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
const ending = (row: Row) => {
  const dot = row.lower.lastIndexOf('.');
  return dot > 0 ? row.lower.slice(dot + 1) : '';
};
const byName = (a: Row, b: Row) => collator.compare(a.lower, b.lower) || (a.entry.name < b.entry.name ? -1 : a.entry.name > b.entry.name ? 1 : 0);
const byText = (of: (row: Row) => string) => (a: Row, b: Row) => {
  const [x, y] = [of(a), of(b)];
  return x < y ? -1 : x > y ? 1 : 0;
};
const BY: Record<SortKey, (a: Row, b: Row) => number> = {
  name: byName,
  size: (a, b) => (a.entry.size ?? -1) - (b.entry.size ?? -1),
  modified: byText((row) => row.entry.modified ?? ''),
  kind: (a, b) => collator.compare(ending(a), ending(b)),
  permissions: byText((row) => row.entry.permissions ?? ''),
  owner: byText((row) => `${row.entry.owner ?? ''} ${row.entry.group ?? ''}`),
};

/** Folders first, whichever way; names decide what is otherwise equal. */
export function ordered(rows: Row[], { by, dir }: Order): Row[] {
  const turn = dir === 'desc' ? -1 : 1;
  const compare = BY[by];
  const sort = (some: Row[]) => some.sort(by === 'name' ? (a, b) => turn * byName(a, b) : (a, b) => turn * compare(a, b) || byName(a, b));
  return [...sort(rows.filter((row) => row.folder)), ...sort(rows.filter((row) => !row.folder))];
}

export const fits = (row: Row, words: string, hidden: boolean) => (hidden || !row.dot) && (!words || row.lower.includes(words));

/** The next row from `from` on whose name begins with what was typed; round about. */
export function startingWith(rows: readonly Row[], text: string, from: number): number {
  const words = text.toLowerCase();
  for (let i = 0; i < rows.length; i++) {
    const at = (from + i) % rows.length;
    if (rows[at]!.lower.startsWith(words)) return at;
  }
  return -1;
}

/** `rwxr-x---` */
export function letters(permissions: string | null): string {
  if (!permissions) return '';
  const bits = Number.parseInt(permissions, 8);
  const out = Array.from({ length: 9 }, (_, i) => (bits & (1 << (8 - i)) ? 'rwx'[i % 3]! : '-'));
  const mark = (at: number, bit: number, set: string) => {
    if (bits & bit) out[at] = out[at] === '-' ? set.toUpperCase() : set;
  };
  mark(2, 0o4000, 's');
  mark(5, 0o2000, 's');
  mark(8, 0o1000, 't');
  return out.join('');
}
