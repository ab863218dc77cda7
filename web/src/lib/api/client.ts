// The one way to the server. Knows problem+json, the login cookie and nothing else.

export interface FieldError {
  field: string;
  message: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly fields: FieldError[] = [],
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }

  /** What to say beside the field, if the server named it. */
  field(name: string): string | null {
    return this.fields.find((field) => field.field === name || field.field === `/${name}`)?.message ?? null;
  }

  /** The request never reached the server, or no answer came back. */
  get unreachable(): boolean {
    return this.status === 0;
  }
}

type Scalar = string | number | boolean | null | undefined;
export type Query = Record<string, Scalar>;

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string> | undefined;
  cache?: RequestCache | undefined;
}

/** Called when a request is refused because the login ended. */
let onLoggedOut: () => void = () => {};
export function whenLoggedOut(act: () => void): void {
  onLoggedOut = act;
}

export function queryString(query: Query): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') search.set(key, String(value));
  }
  const text = search.toString();
  return text ? `?${text}` : '';
}

/** The address of something that a link or a download opens. */
export function apiPath(path: string, query?: Query): string {
  return `/api/v1${path}${query ? queryString(query) : ''}`;
}

async function send(method: Method, path: string, options: Options): Promise<Response> {
  const { query, body, signal, headers, cache } = options;
  const isText = typeof body === 'string' || body instanceof Blob;
  try {
    return await fetch(apiPath(path, query), {
      method,
      signal: signal ?? null,
      credentials: 'same-origin',
      cache: cache ?? 'default',
      headers: {
        Accept: 'application/json',
        ...(body === undefined ? {} : { 'Content-Type': isText ? 'application/octet-stream' : 'application/json' }),
        ...headers,
      },
      body: body === undefined ? null : isText ? (body as string | Blob) : JSON.stringify(body),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, 'unreachable', 'The server does not answer. Nothing was changed that you have not seen confirmed.');
  }
}

async function problem(response: Response): Promise<ApiError> {
  return problemOf(response.status, response.statusText, response.headers.get('Retry-After'), await response.text().catch(() => ''));
}

/** The error that an answer stands for. */
export function problemOf(status: number, statusText: string, retryAfter: string | null, text: string): ApiError {
  const retry = Number(retryAfter);
  let code = `http_${status}`;
  let message = statusText || `The server answered ${status}`;
  let fields: FieldError[] = [];
  try {
    const body = JSON.parse(text);
    if (typeof body.code === 'string') code = body.code;
    message = body.detail || body.error || body.title || message;
    if (Array.isArray(body.errors)) fields = body.errors;
  } catch {
    // Not a problem document (a proxy's page, say): the status line has to do.
  }
  return new ApiError(status, code, sentence(message), fields, Number.isFinite(retry) && retry > 0 ? retry : null);
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function request<T>(method: Method, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options);
  if (!response.ok) {
    const error = await problem(response);
    if (error.status === 401 && !path.startsWith('/auth/')) onLoggedOut();
    throw error;
  }
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const api = {
  get: <T>(path: string, query?: Query, signal?: AbortSignal) =>
    request<T>('GET', path, { ...(query ? { query } : {}), ...(signal ? { signal } : {}) }),
  post: <T>(path: string, body?: unknown, query?: Query) =>
    request<T>('POST', path, { ...(body === undefined ? {} : { body }), ...(query ? { query } : {}) }),
  put: <T>(path: string, body: unknown) => request<T>('PUT', path, { body }),
  patch: <T>(path: string, body: unknown) => request<T>('PATCH', path, { body }),
  delete: <T>(path: string, body?: unknown, query?: Query) => request<T>('DELETE', path, { ...(body === undefined ? {} : { body }), ...(query ? { query } : {}) }),
};

/** An answer as it is, once it is a good one. `path` may have a query of its own. */
export async function call(method: Method, path: string, options: Options = {}): Promise<Response> {
  const response = await send(method, path, options);
  if (response.ok) return response;
  const error = await problem(response);
  if (error.status === 401) onLoggedOut();
  throw error;
}

/** Lines of JSON as they arrive. */
export async function lines<T>(response: Response, each: (lines: T[]) => void): Promise<void> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? '')).split('\n');
    rest = done ? '' : (parts.pop() ?? '');
    const full = parts.filter(Boolean);
    if (full.length) each(full.map((text) => JSON.parse(text) as T));
    if (done) return;
  }
}

/** A long answer piece by piece: `piece` is handed each part as it arrives and how much there will be, if known. */
export async function stream(path: string, query: Query, signal: AbortSignal, piece: (bytes: Uint8Array, total: number | null) => void): Promise<void> {
  const response = await send('GET', path, { query, signal });
  if (!response.ok) throw await problem(response);
  const length = Number(response.headers.get('Content-Length'));
  const total = response.headers.has('Content-Length') && Number.isFinite(length) && !response.headers.has('Content-Encoding') ? length : null;
  const reader = response.body?.getReader();
  if (!reader) return;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    piece(value, total);
  }
}

/** What a page shows of an error that may be anything. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
