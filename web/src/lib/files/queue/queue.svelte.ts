// What is under way between this browser and targets, whichever page is shown.
import { describe } from '../../api/client';
import type { ProgressLine } from '../../api/files';
import type { WirePath } from '../paths';
import type { Answer, Question } from './question';
import { Rate } from './rate';
import { UploadJob, type Item, type Surroundings } from './upload.svelte';

/** Requests at once: browsers open six to a server, and the page needs some for itself. */
export const PARALLEL = 3;

/** Something that the server does and tells about: copying, moving, deleting. */
export class TaskJob {
  readonly kind: 'copy' | 'move' | 'delete' | 'chmod';
  state = $state<'waiting' | 'running' | 'done' | 'failed' | 'cancelled'>('waiting');
  line = $state.raw<ProgressLine | null>(null);
  /** Paths that failed, and why. */
  faults = $state.raw<{ path: string; error: string }[]>([]);
  error = $state<string | null>(null);
  perSecond = $state<number | null>(null);
  readonly rate = new Rate();
  abort = new AbortController();
  /** A question that has to be answered before it goes on. */
  asking = $state.raw<Question | null>(null);

  constructor(
    readonly id: string,
    readonly connection: string,
    kind: TaskJob['kind'],
    readonly title: string,
    readonly detail: string,
    private readonly act: (signal: AbortSignal, progress: (line: ProgressLine) => void, job: TaskJob) => Promise<void>,
    private readonly after: () => void,
  ) {
    this.kind = kind;
  }
  get over(): boolean {
    return this.state === 'done' || this.state === 'cancelled';
  }
  get busy(): boolean {
    return this.state === 'running' || this.state === 'waiting';
  }
  async run(): Promise<void> {
    this.state = 'running';
    this.faults = [];
    this.error = null;
    this.abort = new AbortController();
    const { signal } = this.abort;
    try {
      await this.act(
        signal,
        (line) => {
          this.line = line;
          if (line.error && this.faults.length < 200) this.faults = [...this.faults, { path: line.path ?? '', error: line.error }];
        },
        this,
      );
      this.state = this.faults.length || this.line?.failed ? 'failed' : 'done';
      if (this.state === 'failed') this.error = this.line?.failed === 1 ? 'One thing failed' : `${this.line?.failed ?? this.faults.length} things failed`;
    } catch (error) {
      if (signal.aborted) this.state = 'cancelled';
      else {
        this.error = describe(error);
        this.state = 'failed';
      }
    }
    this.after();
  }
  /** Asks, and waits for the answer; that it was given up is an answer, too. */
  ask(about: Omit<Question, 'id' | 'decide' | 'cancel'>): Promise<{ answer: Answer; all: boolean }> {
    return new Promise((resolve) => {
      const over = (answer: Answer, all: boolean) => {
        this.asking = null;
        resolve({ answer, all });
      };
      this.abort.signal.addEventListener('abort', () => over('skip', false), { once: true });
      this.asking = { ...about, id: `${this.id} ${about.to}`, decide: over, cancel: () => this.cancel() };
    });
  }
  cancel(): void {
    if (this.state === 'failed') this.state = 'cancelled';
    this.abort.abort();
  }
  tick(now: number): void {
    if (this.state !== 'running') return;
    this.rate.mark(now, this.line?.bytes ?? 0);
    this.perSecond = this.rate.perSecond;
  }
}
export type Job = UploadJob | TaskJob;

export interface Memory {
  job(job: UploadJob): void;
  item(item: Item): void;
  forget(job: UploadJob): void;
}

export class Queue {
  jobs = $state.raw<readonly Job[]>([]);
  /** Whether the panel is unfolded. */
  open = $state(false);
  #active = 0;
  readonly around: Surroundings;
  /** Told when something has arrived in a folder or gone from it. */
  readonly listeners = new Set<(connection: string, path: WirePath) => void>();

  constructor(
    around: Omit<Surroundings, 'changed' | 'ready' | 'arrived'>,
    private readonly memory: Memory,
  ) {
    this.around = {
      ...around,
      changed: (item) => this.memory.item(item),
      ready: () => this.pump(),
      arrived: (connection, path) => this.tell(connection, path),
    };
  }

  get busy(): number {
    return this.jobs.filter((job) => job.busy).length;
  }
  get asking(): Question | null {
    for (const job of this.jobs) {
      const question = job.kind === 'upload' ? job.asking?.question() : job.asking;
      if (question) return question;
    }
    return null;
  }
  get uploading(): boolean {
    return this.jobs.some((job) => job.kind === 'upload' && job.busy);
  }

  tell(connection: string, path: WirePath): void {
    for (const listener of this.listeners) listener(connection, path);
  }

  add(job: Job): void {
    this.jobs = [...this.jobs, job];
    this.open = true;
    if (job.kind === 'upload') {
      this.memory.job(job);
      if (job.empty.length) void job.makeEmpty().then(() => this.tell(job.connection, job.folder), () => {});
    }
    this.pump();
  }

  /** Starts what there is room for: tasks at once, files as many as may run together. */
  pump(): void {
    for (const job of this.jobs) if (job.kind !== 'upload' && job.state === 'waiting') void job.run().then(() => this.pump());
    for (const job of this.jobs) {
      if (job.kind !== 'upload') continue;
      while (this.#active < PARALLEL) {
        const item = job.take();
        if (!item) break;
        this.#active += 1;
        void job.run(item).finally(() => {
          this.#active -= 1;
          if (job.over) this.memory.forget(job);
          this.pump();
        });
      }
    }
  }

  tick(): void {
    for (const job of this.jobs) job.tick(this.around.now());
  }

  /** Takes away what is over. */
  clear(): void {
    for (const job of this.jobs) if (job.over && job.kind === 'upload') this.memory.forget(job);
    this.jobs = this.jobs.filter((job) => !job.over);
  }
  drop(job: Job): void {
    job.cancel();
    if (job.kind === 'upload') this.memory.forget(job);
    this.jobs = this.jobs.filter((one) => one !== job);
    this.pump();
  }
  /** Somebody else may log in next. */
  forget(): void {
    for (const job of [...this.jobs]) this.drop(job);
  }
}
