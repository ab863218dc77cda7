// A long list of which only the pages on screen are loaded.

export interface Slice<T> {
  rows: T[];
  total: number;
}
type Load<T> = (page: number, limit: number, signal: AbortSignal) => Promise<Slice<T>>;

export class PagedList<T> {
  total = $state<number | null>(null);
  error = $state.raw<unknown>(null);
  #version = $state(0);
  #pages = new Map<number, T[]>();
  #wanted = new Set<number>();
  #visible: [number, number] = [0, 0];
  #abort = new AbortController();

  constructor(
    private load: Load<T>,
    readonly pageSize = 100,
  ) {}

  /** The row, if it is loaded. */
  at(index: number): T | undefined {
    void this.#version;
    return this.#pages.get(Math.floor(index / this.pageSize))?.[index % this.pageSize];
  }

  /** Every loaded row. */
  loaded(): T[] {
    void this.#version;
    return [...this.#pages.entries()].sort((a, b) => a[0] - b[0]).flatMap(([, rows]) => rows);
  }

  /** These rows are on screen: loads what is missing of them. */
  show(from: number, to: number): void {
    this.#visible = [Math.floor(from / this.pageSize), Math.floor(Math.max(from, to - 1) / this.pageSize)];
    for (let page = this.#visible[0]; page <= this.#visible[1]; page++) {
      if (!this.#pages.has(page)) void this.#fetch(page);
    }
  }

  /** Another question: forgets everything. */
  restart(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#wanted.clear();
    this.#pages.clear();
    this.#visible = [0, 0];
    this.total = null;
    this.error = null;
    this.#version += 1;
    void this.#fetch(0);
  }

  /** The same question again: what is on screen stays until the answer is there. */
  async refresh(): Promise<void> {
    for (const page of [...this.#pages.keys()]) {
      if (page < this.#visible[0] || page > this.#visible[1]) this.#pages.delete(page);
    }
    this.error = null;
    const [first, last] = this.#visible;
    await Promise.all(Array.from({ length: last - first + 1 }, (_, i) => this.#fetch(first + i)));
  }

  /** Puts `row` in the place of the loaded row that `same` recognises. Tells whether there was one. */
  replace(same: (row: T) => boolean, row: T): boolean {
    for (const rows of this.#pages.values()) {
      const index = rows.findIndex(same);
      if (index >= 0) {
        rows[index] = row;
        this.#version += 1;
        return true;
      }
    }
    return false;
  }

  async #fetch(page: number): Promise<void> {
    if (this.#wanted.has(page)) return;
    this.#wanted.add(page);
    const { signal } = this.#abort;
    try {
      const slice = await this.load(page + 1, this.pageSize, signal);
      if (signal.aborted) return;
      this.#pages.set(page, slice.rows);
      this.total = slice.total;
      this.error = null;
      this.#version += 1;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.#wanted.delete(page);
  }
}

/** A list that is read from its newest end by cursor, and grows at both. */
export class CursorList<T> {
  rows = $state.raw<T[]>([]);
  error = $state.raw<unknown>(null);
  done = $state(false);
  loading = $state(false);
  #cursor: number | null = null;
  #abort = new AbortController();

  constructor(private load: (before: number | null, signal: AbortSignal) => Promise<{ rows: T[]; next: number | null }>) {}

  restart(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.rows = [];
    this.#cursor = null;
    this.done = false;
    this.loading = false;
    void this.more();
  }

  async more(): Promise<void> {
    if (this.loading || this.done) return;
    const { signal } = this.#abort;
    this.loading = true;
    try {
      const { rows, next } = await this.load(this.#cursor, signal);
      if (signal.aborted) return;
      this.rows = [...this.rows, ...rows];
      this.#cursor = next;
      this.done = next === null;
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.loading = false;
  }

  prepend(row: T): void {
    this.rows = [row, ...this.rows];
  }
}
