// Files on their way to a target: which are sent, in what order, what is asked, what is done after a failure. How bytes
// are sent, where things are remembered and what the time is are given, so that all of it can be tested.
import { ApiError } from '../../api/client';
import { beside, clean, join, lastPart, parentOf, textOf, type WirePath } from '../paths';
import type { Answer, Question } from './question';
import { Rate } from './rate';

/** Where a file's bytes come from; after a reload it may have to be given again. */
export interface Source {
  file: () => Promise<File>;
}
export interface Wanted {
  /** Its place below the folder it is put in, by `/`. */
  rel: string;
  size: number;
  modified: number;
  source: Source | null;
  /** What a reload can get it back with. */
  keep?: unknown;
}
export type ItemState = 'waiting' | 'running' | 'paused' | 'asking' | 'nofile' | 'done' | 'failed' | 'skipped' | 'cancelled';
export interface Transport {
  /** Everything of a small file in one request. */
  whole(connection: string, path: WirePath, file: Blob, overwrite: boolean, signal: AbortSignal, progress: (bytes: number) => void): Promise<void>;
  begin(connection: string, path: WirePath, size: number, modified: number, overwrite: boolean, signal: AbortSignal): Promise<{ id: string; offset: number }>;
  offset(connection: string, id: string, signal: AbortSignal): Promise<number>;
  /** Sends a piece; answers where the next one begins. */
  piece(connection: string, id: string, offset: number, piece: Blob, signal: AbortSignal, progress: (bytes: number) => void): Promise<number>;
  finish(connection: string, id: string, signal: AbortSignal): Promise<void>;
  drop(connection: string, id: string): Promise<void>;
  mkdir(connection: string, path: WirePath): Promise<void>;
  exists(connection: string, path: WirePath): Promise<boolean>;
}
export interface Surroundings {
  transport: Transport;
  now: () => number;
  /** Waits, but not after `signal`, nor longer than until the network is back. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Something changed that outlives a reload. */
  changed: (item: Item) => void;
  /** Something is there to be done. */
  ready: () => void;
  /** A file has arrived. */
  arrived: (connection: string, path: WirePath) => void;
}

/** Files up to this are sent in one request. */
export const WHOLE = 4 * 1024 * 1024;
export const PIECE = 8 * 1024 * 1024;
const TRIES = 6;
/** Conflicts that are over soon. */
const PASSING = new Set(['upload_busy', 'too_many_uploads', 'session_over']);

export class Item {
  state = $state<ItemState>('waiting');
  done = $state(0);
  error = $state<string | null>(null);
  /** Why it waits, when it is not its turn that it waits for. */
  note = $state<string | null>(null);
  to: WirePath;
  upload: string | null = null;
  overwrite = false;
  abort: AbortController | null = null;

  constructor(
    readonly id: string,
    readonly job: UploadJob,
    readonly wanted: Wanted,
  ) {
    this.to = clean(job.folder + wanted.rel.split('/').map((part) => join('/', part)).join(''));
  }
  get name(): string {
    return textOf(lastPart(this.to));
  }
  get size(): number {
    return this.wanted.size;
  }
  question(): Question {
    const { job } = this;
    return {
      id: this.id,
      of: 'upload',
      name: this.name,
      connection: job.connection,
      connectionName: job.connectionName,
      to: this.to,
      folder: false,
      size: this.size,
      modified: new Date(this.wanted.modified).toISOString(),
      get others() {
        return job.counts.waiting + job.counts.running + job.counts.asking - 1;
      },
      replaces: true,
      decide: (answer, all) => job.decide(this, answer, all),
      cancel: () => job.cancel(),
    };
  }
  get over(): boolean {
    return this.state === 'done' || this.state === 'skipped' || this.state === 'cancelled';
  }
}

/** What was dropped or chosen at once. */
export class UploadJob {
  readonly kind = 'upload';
  items: Item[] = [];
  /** Folders without files. */
  empty: string[] = [];
  total = $state(0);
  /** Bytes of what is over. */
  #settled = $state(0);
  counts = $state<Record<ItemState, number>>({ waiting: 0, running: 0, paused: 0, asking: 0, nofile: 0, done: 0, failed: 0, skipped: 0, cancelled: 0 });
  running = $state.raw<readonly Item[]>([]);
  /** The answer for all further questions. */
  answer: Answer | null = null;
  readonly rate = new Rate();
  perSecond = $state<number | null>(null);
  remainingMs = $state<number | null>(null);
  #folders = new Map<WirePath, Promise<void>>();
  #next = 0;

  constructor(
    readonly id: string,
    readonly connection: string,
    readonly connectionName: string,
    readonly folder: WirePath,
    private readonly around: Surroundings,
  ) {}

  add(wanted: Wanted[], ids?: string[]): void {
    const from = this.items.length;
    this.items.push(...wanted.map((one, i) => new Item(ids?.[i] ?? `${this.id}-${from + i}`, this, one)));
    this.total += wanted.reduce((sum, one) => sum + one.size, 0);
    this.counts.waiting += wanted.length;
  }

  get title(): string {
    const [first] = this.items;
    if (this.items.length === 1 && first) return first.name;
    const tops = new Set(this.items.map((item) => item.wanted.rel.split('/')[0]));
    return tops.size === 1 && first?.wanted.rel.includes('/') ? [...tops][0]! : `${this.items.length || this.empty.length} ${this.items.length ? 'files' : 'folders'}`;
  }
  get done(): number {
    return this.#settled + this.running.reduce((sum, item) => sum + item.done, 0) + this.#partly;
  }
  /** Of what has begun and neither runs nor is over. */
  get #partly(): number {
    return this.counts.paused + this.counts.failed + this.counts.nofile + this.counts.waiting ? this.items.reduce((sum, item) => (item.over || item.state === 'running' ? sum : sum + item.done), 0) : 0;
  }
  get over(): boolean {
    const { done, skipped, cancelled } = this.counts;
    return done + skipped + cancelled === this.items.length;
  }
  get busy(): boolean {
    return this.counts.running + this.counts.waiting > 0;
  }
  get asking(): Item | null {
    return this.counts.asking ? (this.items.find((item) => item.state === 'asking') ?? null) : null;
  }

  set(item: Item, state: ItemState, error: string | null = null): void {
    if (item.state === state && item.error === error) return;
    this.counts[item.state] -= 1;
    this.counts[state] += 1;
    if (state === 'running') this.running = [...this.running, item];
    else if (item.state === 'running') this.running = this.running.filter((one) => one !== item);
    const wasOver = item.over;
    item.state = state;
    item.error = error;
    if (item.over !== wasOver) this.#settled += item.over ? item.size : -item.size;
    if (state !== 'running') item.note = null;
    this.around.changed(item);
  }

  /** The next item whose turn it is. */
  take(): Item | null {
    while (this.#next < this.items.length && this.items[this.#next]!.state !== 'waiting') this.#next += 1;
    return this.items[this.#next] ?? null;
  }
  #again(): void {
    this.#next = 0;
    this.around.ready();
  }

  tick(): void {
    if (!this.running.length) {
      this.rate.pause();
      this.perSecond = this.remainingMs = null;
      return;
    }
    this.rate.mark(this.around.now(), this.done);
    this.perSecond = this.rate.perSecond;
    this.remainingMs = this.rate.remaining(this.total - this.done);
  }

  // --- what people do ---

  pause(only?: Item): void {
    for (const item of only ? [only] : this.items) {
      if (item.state !== 'running' && item.state !== 'waiting') continue;
      this.set(item, 'paused');
      item.abort?.abort();
    }
  }
  resume(only?: Item): void {
    for (const item of only ? [only] : this.items) if (item.state === 'paused') this.set(item, item.wanted.source ? 'waiting' : 'nofile');
    this.#again();
  }
  retry(only?: Item): void {
    this.#folders.clear();
    for (const item of only ? [only] : this.items) if (item.state === 'failed') this.set(item, item.wanted.source ? 'waiting' : 'nofile');
    this.#again();
  }
  cancel(only?: Item): void {
    for (const item of only ? [only] : this.items) {
      if (item.over) continue;
      const { upload } = item;
      item.upload = null;
      this.set(item, 'cancelled');
      item.abort?.abort();
      // What is left there is taken away by the server in time, too.
      if (upload) void this.around.transport.drop(this.connection, upload).catch(() => {});
    }
  }
  /** What is to become of a file whose name is taken. */
  async decide(item: Item, answer: Answer, forAll: boolean): Promise<void> {
    if (forAll) this.answer = answer;
    const some = forAll ? this.items.filter((one) => one.state === 'asking') : [item];
    for (const one of some) this.set(one, (await this.#apply(one, answer)) ? 'waiting' : 'skipped');
    this.#again();
  }
  /** Makes ready what was answered; false when it is not sent. */
  async #apply(item: Item, answer: Answer): Promise<boolean> {
    if (answer === 'replace') item.overwrite = true;
    else if (answer === 'both') item.to = await this.#free(item.to);
    return answer !== 'skip';
  }
  async #free(path: WirePath): Promise<WirePath> {
    const folder = parentOf(path);
    const name = decodeURIComponent(lastPart(path));
    for (let n = 2; ; n++) {
      const made = join(folder, beside(name, undefined, n));
      if (!(await this.around.transport.exists(this.connection, made))) return made;
    }
  }
  /** Files that were chosen again, for those that wait for theirs. Answers how many fit. */
  give(found: { rel: string; file: File }[]): number {
    let given = 0;
    for (const item of this.items) {
      if (item.state !== 'nofile') continue;
      const name = item.wanted.rel.split('/').at(-1);
      const fit = found.find(({ rel, file }) => (rel === item.wanted.rel || file.name === name) && file.size === item.wanted.size && Math.abs(file.lastModified - item.wanted.modified) < 2000);
      if (!fit) continue;
      item.wanted.source = { file: async () => fit.file };
      this.set(item, 'waiting');
      given += 1;
    }
    if (given) this.#again();
    return given;
  }

  // --- the work ---

  #folder(path: WirePath): Promise<void> {
    if (path === this.folder) return Promise.resolve();
    const known = this.#folders.get(path);
    if (known) return known;
    const made = this.around.transport.mkdir(this.connection, path);
    this.#folders.set(path, made);
    // One that could not be made is tried again by whoever needs it next.
    made.catch(() => this.#folders.delete(path));
    return made;
  }
  async makeEmpty(): Promise<void> {
    for (const rel of this.empty) await this.#folder(clean(this.folder + rel.split('/').map((part) => join('/', part)).join('')));
    this.empty = [];
  }

  /** Sends one; comes back when it is done, stopped or failed. */
  async run(item: Item): Promise<void> {
    this.set(item, 'running');
    const abort = (item.abort = new AbortController());
    for (let tries = 0; ; ) {
      const before = item.done;
      try {
        await this.#send(item, abort.signal);
        item.done = item.size;
        item.upload = null;
        this.set(item, 'done');
        this.around.arrived(this.connection, item.to);
        return;
      } catch (error) {
        if (abort.signal.aborted) return;
        if (item.done > before) tries = 0;
        const next = await this.#after(item, error, tries, abort.signal);
        if (abort.signal.aborted || !next) return;
        tries += 1;
      }
    }
  }

  async #send(item: Item, signal: AbortSignal): Promise<void> {
    const { transport } = this.around;
    if (!item.wanted.source) throw new ApiError(0, 'nofile', 'The browser no longer has this file: choose it again.');
    let file: File;
    try {
      file = await item.wanted.source.file();
    } catch {
      throw new ApiError(0, 'nofile', 'The file cannot be read any more.');
    }
    if (file.size !== item.size) throw new ApiError(422, 'changed', 'The file has changed since it was added.');
    await this.#folder(parentOf(item.to));
    if (item.size <= WHOLE && !item.upload) {
      item.done = 0;
      await transport.whole(this.connection, item.to, file, item.overwrite, signal, (bytes) => (item.done = bytes));
      return;
    }
    if (item.upload) {
      try {
        item.done = await transport.offset(this.connection, item.upload, signal);
      } catch (error) {
        if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 410)) throw error;
        // The server knows it no more: from the beginning.
        item.upload = null;
        item.done = 0;
      }
    }
    if (!item.upload) {
      const begun = await transport.begin(this.connection, item.to, item.size, item.wanted.modified, item.overwrite, signal);
      item.upload = begun.id;
      item.done = begun.offset;
      this.around.changed(item);
    }
    while (item.done < item.size) {
      const offset = item.done;
      item.done = await transport.piece(this.connection, item.upload, offset, file.slice(offset, offset + PIECE), signal, (bytes) => (item.done = offset + bytes));
      item.note = null;
      this.around.changed(item);
    }
    await transport.finish(this.connection, item.upload, signal);
  }

  /** What comes after a failure: whether it is tried again. */
  async #after(item: Item, error: unknown, tries: number, signal: AbortSignal): Promise<boolean> {
    const { status, code, message } = error instanceof ApiError ? error : { status: 500, code: '', message: error instanceof Error ? error.message : String(error) };
    if (code === 'nofile') {
      this.set(item, 'nofile', message);
      return false;
    }
    if (code === 'exists' && !item.overwrite) {
      item.upload = null;
      item.done = 0;
      if (!this.answer) {
        this.set(item, 'asking');
        return false;
      }
      if (await this.#apply(item, this.answer)) return true;
      this.set(item, 'skipped');
      return false;
    }
    // A browser does not say why nothing came back. Others pass by themselves.
    if (status === 0 || status === 429 || status === 502 || status === 503 || status === 504 || PASSING.has(code)) return this.#later(item, message, tries, signal);
    this.set(item, 'failed', message);
    return false;
  }
  async #later(item: Item, message: string, tries: number, signal: AbortSignal): Promise<boolean> {
    if (tries >= TRIES) {
      this.set(item, 'failed', message);
      return false;
    }
    item.note = 'No answer: trying again';
    await this.around.wait(Math.min(1000 * 2 ** tries, 20_000), signal);
    return true;
  }
}
