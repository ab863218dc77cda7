// History routing under /ui/. Filters live in the query, so that a view can be shared.

const BASE = '/ui';

function currentPath(): string {
  const path = location.pathname;
  return path.startsWith(BASE) ? path.slice(BASE.length) || '/' : '/';
}

class Router {
  path = $state(currentPath());
  search = $state(location.search);

  constructor() {
    addEventListener('popstate', () => this.#read());
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.search);
  }

  #read(): void {
    this.path = currentPath();
    this.search = location.search;
  }

  /** Goes to a page (`/devices?q=x`), keeping the present one in the history unless `replace`. */
  go(to: string, options: { replace?: boolean } = {}): void {
    const url = BASE + to;
    if (url === location.pathname + location.search) return;
    if (options.replace) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    const before = this.path;
    this.#read();
    if (before !== this.path) scrollTo(0, 0);
  }

  /** Changes parts of the query in place; `null` and empty text remove a part. */
  setQuery(change: Record<string, string | number | null | undefined>): void {
    const query = this.query;
    for (const [key, value] of Object.entries(change)) {
      if (value === null || value === undefined || value === '') query.delete(key);
      else query.set(key, String(value));
    }
    const text = query.toString();
    this.go(this.path + (text ? `?${text}` : ''), { replace: true });
  }
}

export const router = new Router();

/** The address of a page, for `href`. */
export function href(to: string): string {
  return BASE + to;
}

/** One listener turns every plain click on an inner link into a move without a reload. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest?.('a');
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (!link.pathname.startsWith(`${BASE}/`) && link.pathname !== BASE) return;
  event.preventDefault();
  router.go((link.pathname.slice(BASE.length) || '/') + link.search);
}
