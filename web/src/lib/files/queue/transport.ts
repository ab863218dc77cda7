// How the queue's bytes are sent: requests that tell how much of them has left.
import { ApiError, problemOf } from '../../api/client';
import { mkdir, stat, TAB, uploads } from '../remote';
import type { Transport } from './upload.svelte';

/** `fetch` does not tell how far an upload has come. */
function send(method: 'PUT' | 'PATCH', url: string, body: Blob, headers: Record<string, string>, signal: AbortSignal, progress: (bytes: number) => void): Promise<XMLHttpRequest> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const over = () => signal.removeEventListener('abort', stop);
    request.open(method, url);
    for (const [name, value] of Object.entries({ Accept: 'application/json', 'Content-Type': 'application/octet-stream', ...TAB, ...headers })) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(Math.min(event.loaded, body.size));
    request.onload = () => {
      over();
      if (request.status >= 200 && request.status < 300) resolve(request);
      else reject(problemOf(request.status, request.statusText, request.getResponseHeader('Retry-After'), request.responseText));
    };
    request.onerror = () => (over(), reject(new ApiError(0, 'unreachable', 'The server does not answer.')));
    request.onabort = () => (over(), reject(new DOMException('stopped', 'AbortError')));
    if (signal.aborted) return reject(new DOMException('stopped', 'AbortError'));
    signal.addEventListener('abort', stop, { once: true });
    request.send(body);
  });
}

export const transport: Transport = {
  async whole(connection, path, file, overwrite, signal, progress) {
    await send('PUT', uploads.wholePath(connection, path, overwrite), file, {}, signal, progress);
  },
  async begin(connection, path, size, modified, overwrite, signal) {
    return uploads.begin(connection, path, size, modified, overwrite, signal);
  },
  async offset(connection, id, signal) {
    return (await uploads.state(connection, id, signal)).offset;
  },
  async piece(connection, id, offset, piece, signal, progress) {
    let answer: XMLHttpRequest;
    try {
      answer = await send('PATCH', uploads.piecePath(connection, id), piece, { 'Upload-Offset': String(offset) }, signal, progress);
    } catch (error) {
      // An earlier try may have got further than this page heard of.
      if (error instanceof ApiError && error.code === 'offset_mismatch') return (await uploads.state(connection, id, signal)).offset;
      throw error;
    }
    const told = Number(answer.getResponseHeader('Upload-Offset') ?? NaN);
    return Number.isFinite(told) ? told : offset + piece.size;
  },
  async finish(connection, id, signal) {
    await uploads.finish(connection, id, signal);
  },
  drop: (connection, id) => uploads.drop(connection, id),
  async mkdir(connection, path) {
    await mkdir(connection, path, true);
  },
  async exists(connection, path) {
    try {
      await stat(connection, path);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return false;
      throw error;
    }
  },
};

/** Waits; is woken when the network comes back. */
export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener('online', over);
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    addEventListener('online', over);
    signal.addEventListener('abort', over);
  });
}

