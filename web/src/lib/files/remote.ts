// What can be done with the files of a connection, over HTTP.
import type { FileEntry, FileStat, ProgressLine, RawPath, UploadState, Written } from '../api/files';
import { api, apiPath, ApiError, call, lines } from '../api/client';
import { ListingReader, type ListHead } from './listing';
import type { WirePath } from './paths';

const KEY = 'sojourn.files.tab';

/** Names this page to the server, which keeps a file session for it. */
export const tab = ((): string => {
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  try {
    const kept = sessionStorage.getItem(KEY) ?? fresh();
    sessionStorage.setItem(KEY, kept);
    return kept;
  } catch {
    return fresh();
  }
})();
export const TAB = { 'Sojourn-Tab': tab };

const raw = (path: WirePath): RawPath => ({ raw: path });
const at = (connection: string, what: string, query: Record<string, string> = {}) =>
  `/files/${connection}/${what}${Object.keys(query).length ? `?${Object.entries(query).map(([key, value]) => `${key}=${value}`).join('&')}` : ''}`;

async function json<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown, options: { signal?: AbortSignal | undefined; headers?: Record<string, string> } = {}): Promise<T> {
  const response = await call(method, path, { ...(body === undefined ? {} : { body }), signal: options.signal, headers: { ...TAB, ...options.headers } });
  used.add(path.split('/')[2]!);
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** The connections that this page has used: their file sessions end with it. */
const used = new Set<string>();
if (typeof addEventListener === 'function') {
  addEventListener('pagehide', (event) => {
    // A page that is only put aside may come back.
    if (event.persisted) return;
    for (const connection of used) navigator.sendBeacon(apiPath(at(connection, 'session/close', { tab })));
  });
}

/** Reads a folder as its entries arrive; without a path the one where the connection begins. */
export async function list(connection: string, path: WirePath | null, signal: AbortSignal, head: (head: ListHead) => void, entries: (entries: FileEntry[]) => void): Promise<void> {
  const response = await call('GET', at(connection, 'list', path === null ? {} : { path }), { signal, headers: { ...TAB } });
  used.add(connection);
  const listing = new ListingReader(head, entries);
  const cut = () => new ApiError(502, 'interrupted', 'Reading the folder was cut off before its end.');
  try {
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const part = await reader?.read();
      if (!part || part.done) break;
      listing.add(part.value);
    }
  } catch (error) {
    throw signal.aborted ? error : cut();
  }
  if (!listing.complete) throw cut();
}

export const stat = (connection: string, path: WirePath, signal?: AbortSignal) => json<FileStat>('GET', at(connection, 'stat', { path }), undefined, { signal });
export const mkdir = (connection: string, path: WirePath, parents = false) => json<FileEntry>('POST', at(connection, 'mkdir'), { path: raw(path), ...(parents ? { parents } : {}) });
export const rename = (connection: string, from: WirePath, to: WirePath, overwrite = false) => json<FileEntry>('POST', at(connection, 'rename'), { from: raw(from), to: raw(to), overwrite });
export const makeLink = (connection: string, path: WirePath, target: string) => json<FileEntry>('POST', at(connection, 'link'), { path: raw(path), target });
export const login = (connection: string, password: string) => json<{ fileSession: string }>('POST', at(connection, 'login'), { password });
/** Ends this page's file session with the connection, and forgets a password that was entered for it. */
export const close = (connection: string) => (used.delete(connection), json<void>('DELETE', at(connection, 'session')));

type Progress = (line: ProgressLine) => void;
async function told(path: string, body: unknown, signal: AbortSignal, progress: Progress): Promise<ProgressLine> {
  const response = await call('POST', path, { body, signal, headers: { ...TAB, Accept: 'application/x-ndjson' } });
  let last: ProgressLine = { done: 0, failed: 0, bytes: 0 };
  await lines<ProgressLine>(response, (some) => {
    for (const line of some) {
      last = line;
      progress(line);
    }
  });
  if (!last.finished) throw new ApiError(0, 'interrupted', 'It was cut off before it was done.');
  return last;
}

export const remove = (connection: string, paths: WirePath[], recursive: boolean, signal: AbortSignal, progress: Progress) => told(at(connection, 'delete'), { paths: paths.map(raw), recursive }, signal, progress);
export const copy = (connection: string, from: WirePath, to: WirePath, overwrite: boolean, toConnection: string | null, signal: AbortSignal, progress: Progress) =>
  told(at(connection, 'copy'), { from: raw(from), to: raw(to), overwrite, ...(toConnection && toConnection !== connection ? { toConnection } : {}) }, signal, progress);
export async function chmod(connection: string, path: WirePath, permissions: string, recursive: boolean, signal: AbortSignal, progress: Progress): Promise<void> {
  const response = await call('POST', at(connection, 'chmod'), { body: { path: raw(path), permissions, ...(recursive ? { recursive } : {}) }, signal, headers: { ...TAB } });
  if (response.headers.get('Content-Type')?.includes('ndjson')) await lines<ProgressLine>(response, (some) => some.forEach(progress));
}

/** Addresses for links, images and the browser's own downloads: they cannot send a header. */
export const contentUrl = (connection: string, path: WirePath, download = false) => apiPath(at(connection, 'content', { path, ...(download ? { download: '1' } : {}), tab }));
export const archiveUrl = (connection: string, paths: WirePath[]) => apiPath(`/files/${connection}/archive?${paths.map((path) => `path=${path}`).join('&')}&tab=${tab}`);

/** The first bytes of a file. */
export async function readStart(connection: string, path: WirePath, most: number, signal: AbortSignal): Promise<{ bytes: Uint8Array<ArrayBuffer>; etag: string | null }> {
  // A browser that keeps a range asks for no more than what it kept, and would cut off a file that has grown.
  const response = await call('GET', at(connection, 'content', { path }), { signal, cache: 'no-store', headers: { ...TAB, ...(most ? { Range: `bytes=0-${most - 1}` } : {}) } }).catch((error) => {
    // An empty file has no first byte.
    if (error instanceof ApiError && error.status === 416) return null;
    throw error;
  });
  if (!response) return { bytes: new Uint8Array(), etag: null };
  return { bytes: new Uint8Array(await response.arrayBuffer()), etag: response.headers.get('ETag') };
}

export const write = (connection: string, path: WirePath, body: Blob, options: { overwrite: boolean; ifMatch?: string | null }) =>
  json<Written>('PUT', at(connection, 'content', { path, overwrite: options.overwrite ? '1' : '0' }), body, options.ifMatch ? { headers: { 'If-Match': options.ifMatch } } : {});

export const uploads = {
  begin: (connection: string, path: WirePath, size: number, modified: number | null, overwrite: boolean, signal?: AbortSignal) =>
    json<UploadState>('POST', at(connection, 'uploads'), { path: raw(path), size, ...(modified ? { modified: new Date(modified).toISOString() } : {}), overwrite }, { signal }),
  state: (connection: string, id: string, signal?: AbortSignal) => json<UploadState>('GET', at(connection, `uploads/${id}`), undefined, { signal }),
  finish: (connection: string, id: string, signal?: AbortSignal) => json<Written>('POST', at(connection, `uploads/${id}/finish`), {}, { signal }),
  drop: (connection: string, id: string) => json<void>('DELETE', at(connection, `uploads/${id}`)),
  piecePath: (connection: string, id: string) => apiPath(at(connection, `uploads/${id}`)),
  wholePath: (connection: string, path: WirePath, overwrite: boolean) => apiPath(at(connection, 'content', { path, overwrite: overwrite ? '1' : '0' })),
};

/** What the server knows of a connection, for the head of the page. */
export const connectionOf = (id: string, signal?: AbortSignal) => api.get<import('../api/access').Connection>(`/connections/${id}`, undefined, signal);
