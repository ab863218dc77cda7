// One folder of a target on the page: what is in it, in what order, and what of it is selected.
import type { Capabilities } from '../api/files';
import { ApiError } from '../api/client';
import { list } from './remote';
import { fits, ordered, rowOf, startingWith, type Order, type Row } from './order';
import { clean, lastPart, textOf, typed, wireOf, type WirePath } from './paths';

const PREFS = 'sojourn.files';
interface Kept extends Order {
  hidden: boolean;
  view: 'list' | 'grid';
}

class Prefs {
  by = $state<Order['by']>('name');
  dir = $state<Order['dir']>('asc');
  hidden = $state(false);
  view = $state<'list' | 'grid'>('list');
  constructor() {
    try {
      Object.assign(this, JSON.parse(localStorage.getItem(PREFS) ?? '{}') as Partial<Kept>);
    } catch {
      // Storage may be refused.
    }
  }
  set(change: Partial<Kept>): void {
    Object.assign(this, change);
    try {
      localStorage.setItem(PREFS, JSON.stringify({ by: this.by, dir: this.dir, hidden: this.hidden, view: this.view } satisfies Kept));
    } catch {
      // The choice lasts for this page.
    }
  }
}
export const prefs = new Prefs();

export class Browser {
  path = $state<WirePath | null>(null);
  /** Where the connection begins. */
  home = $state<WirePath>('/');
  capabilities = $state.raw<Capabilities | null>(null);
  error = $state.raw<unknown>(null);
  loading = $state(false);
  /** How many entries have arrived. */
  count = $state(0);
  words = $state('');
  shown = $state.raw<Row[]>([]);
  selected = $state.raw<ReadonlySet<WirePath>>(new Set());
  active = $state(0);
  /** Milliseconds from the question to the first rows. */
  firstRowsMs = 0;

  #rows: Row[] = [];
  #abort = new AbortController();
  #anchor = 0;
  #typed = '';
  #typedAt = 0;
  /** To be selected and shown once they are there. */
  #wanted: Set<WirePath> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly connection: string) {}

  get rows(): readonly Row[] {
    return this.#rows;
  }
  get current(): Row | undefined {
    return this.shown[this.active];
  }
  /** What an act is about: what is selected, else the row with the mark. */
  get chosen(): Row[] {
    if (this.selected.size) return this.shown.filter((row) => this.selected.has(row.path));
    return [];
  }
  get changes(): boolean {
    return !!this.capabilities && !this.capabilities.readOnly;
  }
  get deletes(): boolean {
    return this.changes && !this.capabilities?.noDelete;
  }

  /** Goes to a folder, or to where the connection begins. `select` is what to mark there. */
  open(path: WirePath | null, select?: WirePath): void {
    this.words = '';
    this.#rows = [];
    this.shown = [];
    this.count = 0;
    this.selected = new Set();
    this.active = 0;
    this.#anchor = 0;
    this.path = path;
    this.#wanted = select ? new Set([select]) : null;
    void this.#read(path, true);
  }

  /** Reads it again; what is on screen stays until the answer is complete. */
  async reload(select?: WirePath[]): Promise<void> {
    if (select) this.#wanted = new Set(select);
    await this.#read(this.path, this.#rows.length === 0);
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  async #read(path: WirePath | null, live: boolean): Promise<void> {
    this.stop();
    const abort = (this.#abort = new AbortController());
    const began = performance.now();
    this.loading = true;
    this.error = null;
    this.firstRowsMs = 0;
    let rows: Row[] = live ? this.#rows : [];
    let folder = path ?? '/';
    let wait = 0;
    const show = () => {
      this.#timer = undefined;
      const at = performance.now();
      this.refit();
      // Sorting more and more of a long folder takes a part of the time, never most of it.
      wait = Math.max(120, (performance.now() - at) * 5);
    };
    try {
      await list(
        this.connection,
        path,
        abort.signal,
        (head) => {
          folder = head.rawPath ? clean(head.rawPath) : path !== null ? path : wireOf({ path: head.path });
          if (path === null) this.home = folder;
          this.path = folder;
          this.capabilities = head.capabilities;
        },
        (entries) => {
          if (abort.signal.aborted) return;
          for (const entry of entries) rows.push(rowOf(entry, folder));
          if (!live) return;
          this.count = rows.length;
          if (!this.firstRowsMs) {
            this.firstRowsMs = performance.now() - began;
            show();
          } else this.#timer ??= setTimeout(show, wait);
        },
      );
      if (abort.signal.aborted) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#rows = rows;
      this.count = rows.length;
      this.refit();
    } catch (error) {
      if (abort.signal.aborted) return;
      this.error = error;
    }
    this.loading = false;
  }

  /** Sorts and filters anew: the order, the filter or the rows are others. */
  refit(): void {
    const marked = this.current?.path;
    const words = this.words.trim().toLowerCase();
    this.shown = ordered(
      this.#rows.filter((row) => fits(row, words, prefs.hidden)),
      prefs,
    );
    if (this.#wanted) {
      const found = this.shown.findIndex((row) => this.#wanted?.has(row.path));
      if (found >= 0) {
        this.active = found;
        this.#anchor = found;
        this.selected = new Set(this.shown.filter((row) => this.#wanted?.has(row.path)).map((row) => row.path));
        if (!this.loading || this.selected.size === this.#wanted.size) this.#wanted = null;
        return;
      }
    }
    // The mark stays with its row.
    const found = marked === undefined || this.shown[this.active]?.path === marked ? -1 : this.shown.findIndex((row) => row.path === marked);
    if (found >= 0) this.active = found;
    this.active = Math.max(0, Math.min(this.active, this.shown.length - 1));
    if (this.selected.size) {
      const kept = new Set(this.shown.filter((row) => this.selected.has(row.path)).map((row) => row.path));
      if (kept.size !== this.selected.size) this.selected = kept;
    }
  }

  sort(by: Order['by']): void {
    prefs.set({ by, dir: prefs.by === by && prefs.dir === 'asc' ? 'desc' : by === prefs.by || by === 'name' || by === 'kind' || by === 'owner' || by === 'permissions' ? 'asc' : 'desc' });
  }

  // --- selection ---

  only(index: number): void {
    const row = this.shown[index];
    if (!row) return;
    this.active = this.#anchor = index;
    this.selected = new Set([row.path]);
  }
  toggle(index: number): void {
    const row = this.shown[index];
    if (!row) return;
    const next = new Set(this.selected);
    if (!next.delete(row.path)) next.add(row.path);
    this.selected = next;
    this.active = this.#anchor = index;
  }
  /** From where the selection began to here. */
  through(index: number, add = false): void {
    const [from, to] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    const some = this.shown.slice(from, to + 1).map((row) => row.path);
    this.selected = new Set(add ? [...this.selected, ...some] : some);
    this.active = index;
  }
  all(): void {
    this.selected = new Set(this.shown.map((row) => row.path));
  }
  none(): void {
    this.selected = new Set();
  }
  /** Moves the mark: the selection follows it, grows (`shift`) or stays (`ctrl`). */
  move(index: number, how: { shift: boolean; ctrl: boolean }): void {
    const to = Math.max(0, Math.min(index, this.shown.length - 1));
    if (how.shift) this.through(to);
    else if (how.ctrl) this.active = to;
    else this.only(to);
  }
  /** Finds by the first letters, typed one after the other. */
  typeAhead(letter: string, at: number): void {
    if (at - this.#typedAt > 900) this.#typed = '';
    this.#typedAt = at;
    this.#typed += letter;
    const same = [...this.#typed].every((one) => one === this.#typed[0]);
    const found = startingWith(this.shown, same ? this.#typed[0]! : this.#typed, same ? this.active + 1 : this.active);
    if (found >= 0) this.only(found);
  }
  get typing(): boolean {
    return this.#typed !== '' && performance.now() - this.#typedAt < 900;
  }

  read(text: string): WirePath {
    return typed(text.startsWith('/') || text.startsWith('~') ? text : `${textOf(this.path ?? '/')}/${text}`, this.home).replace(/(?!^)\/$/, '');
  }
  nameOf(path: WirePath): string {
    return textOf(lastPart(path));
  }
}

/** That the target's password is to be entered, or entered again. */
export const needsPassword = (error: unknown) => error instanceof ApiError && (error.code === 'password_needed' || error.code === 'login_refused');
