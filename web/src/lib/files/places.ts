// The address of the files page. Paths are percent-encoded bytes, so the query is not read by the browser's own means.
import type { WirePath } from './paths';

export interface Places {
  path: WirePath | null;
  /** The connection on the other side. */
  with: string | null;
  path2: WirePath | null;
}

export function readPlaces(search: string): Places {
  const found = new Map(
    search
      .slice(1)
      .split('&')
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)] as const),
  );
  const path = (key: string) => {
    const text = found.get(key);
    return text?.startsWith('/') ? text.replaceAll('+', '%20') : text?.toUpperCase().startsWith('%2F') ? text.replace(/%2f/gi, '/') : null;
  };
  return { path: path('path'), with: found.get('with') || null, path2: path('path2') };
}

export function filesAddress(connection: string, places: Partial<Places>): string {
  const query = [places.path ? `path=${places.path}` : '', places.with ? `with=${places.with}` : '', places.with && places.path2 ? `path2=${places.path2}` : ''].filter(Boolean).join('&');
  return `/files/${connection}${query ? `?${query}` : ''}`;
}

