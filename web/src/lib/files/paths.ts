// Paths on a target. A path is kept as the percent-encoded bytes that requests take (`/a%20b/c%FF`): names need not
// be UTF-8. For people it is written as the server writes it: what is no text stands as `\xHH`.
import type { FileEntry } from '../api/files';

export type WirePath = string;

/** `encodeURIComponent`, and what it leaves alone although a query or another server would not. */
const encode = (name: string) => encodeURIComponent(name).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** A path that somebody typed: absolute, without empty parts. `~` is where the listing began. */
export function typed(text: string, home: WirePath = '/'): WirePath {
  const from = text.startsWith('~') ? `${home === '/' ? '' : home}${text.slice(1).split('/').map(encode).join('/')}` : text.split('/').map(encode).join('/');
  return clean(from);
}

/** Without `.`, `..`, empty parts and a slash at the end. */
export function clean(path: WirePath): WirePath {
  const out: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') out.pop();
    else if (part && part !== '.') out.push(part);
  }
  return `/${out.join('/')}`;
}

export const wireOf = (entry: Pick<FileEntry, 'path' | 'rawPath'>): WirePath => entry.rawPath ?? entry.path.split('/').map(encode).join('/');

export const join = (folder: WirePath, name: string): WirePath => `${folder === '/' ? '' : folder}/${encode(name)}`;
/** Joins a part that is encoded already. */
export const under = (folder: WirePath, part: string): WirePath => `${folder === '/' ? '' : folder}/${part}`;
export const parentOf = (path: WirePath): WirePath => path.slice(0, path.lastIndexOf('/')) || '/';
export const lastPart = (path: WirePath): string => path.slice(path.lastIndexOf('/') + 1);
export const within = (path: WirePath, folder: WirePath): boolean => folder === '/' || path === folder || path.startsWith(`${folder}/`);

const decoder = new TextDecoder('utf-8', { fatal: true });
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;
const encoder = new TextEncoder();
const escaped = (bytes: Uint8Array) => [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');

/** As people read it. */
export function textOf(path: WirePath): string {
  return path.split('/').map(partText).join('/');
}

function partText(part: string): string {
  if (!part.includes('%')) return part;
  const bytes: number[] = [];
  for (let i = 0; i < part.length; i++) {
    const code = part[i] === '%' ? Number.parseInt(part.slice(i + 1, i + 3), 16) : NaN;
    if (Number.isNaN(code)) bytes.push(...encoder.encode(part[i]));
    else {
      bytes.push(code);
      i += 2;
    }
  }
  let out = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at]!;
    const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
    const piece = new Uint8Array(bytes.slice(at, at + length));
    try {
      const text = decoder.decode(piece);
      out += UNSAFE.test(text) ? escaped(piece) : text;
      at += length;
    } catch {
      out += escaped(piece.subarray(0, 1));
      at += 1;
    }
  }
  return out;
}

/** The way to a folder, from the root. */
export function crumbs(path: WirePath): { name: string; path: WirePath }[] {
  const parts = path.split('/').filter(Boolean);
  return parts.map((part, i) => ({ name: partText(part), path: `/${parts.slice(0, i + 1).join('/')}` }));
}

/** `name (2).txt`: the name for a copy that stands beside the first one. */
export function beside(name: string, taken: (name: string) => boolean = () => false, from = 2): string {
  const dot = name.lastIndexOf('.');
  const compressed = /\.tar\.\w+$/i.exec(name);
  const at = compressed ? compressed.index : dot > 0 ? dot : name.length;
  for (let n = from; ; n++) {
    const made = `${name.slice(0, at)} (${n})${name.slice(at)}`;
    if (!taken(made)) return made;
  }
}

/** What a name may not be on any target. */
export function nameFault(name: string): string | null {
  if (!name) return 'Give it a name';
  if (name === '.' || name === '..') return `“${name}” means a folder already`;
  if (name.includes('/')) return 'A name has no “/”';
  if (/[\u0000-\u001f\u007f-\u009f]/u.test(name)) return 'A name has no control characters';
  if (encoder.encode(name).length > 255) return 'That is too long for a name';
  return null;
}
