// Entries of a folder on their way to another folder, of the same target or another one: one after the other, with a question
// where a name is taken. What is done on the targets is given, so that it can be tested.
import { ApiError } from '../../api/client';
import type { ProgressLine } from '../../api/files';
import { beside, join, lastPart, parentOf, type WirePath } from '../paths';
import type { Answer } from './question';

export interface Carry {
  from: WirePath;
  to: WirePath;
  /** Replace what has the name without a question. */
  overwrite: boolean;
  folder?: boolean;
  size?: number | null;
  modified?: string | null;
}
/** The same target's, when `across` is false. */
export interface Acts {
  copy(from: WirePath, to: WirePath, overwrite: boolean, signal: AbortSignal, progress: (line: ProgressLine) => void): Promise<ProgressLine>;
  rename(from: WirePath, to: WirePath, overwrite: boolean): Promise<unknown>;
  remove(path: WirePath, signal: AbortSignal): Promise<unknown>;
  exists(path: WirePath): Promise<boolean>;
  /** What is to become of an entry whose name is taken; `others` are still to come. */
  ask(one: Carry, others: number): Promise<{ answer: Answer; all: boolean }>;
}

export class Carrying {
  #left: Carry[];
  #answer: Answer | null = null;
  #line: ProgressLine = { done: 0, failed: 0, bytes: 0 };

  constructor(
    readonly kind: 'copy' | 'move',
    /** To another target than it comes from. */
    readonly across: boolean,
    list: Carry[],
    private readonly acts: Acts,
  ) {
    this.#left = list.map((one) => ({ ...one }));
  }

  /** Goes on where it was stopped or failed. */
  async run(signal: AbortSignal, progress: (line: ProgressLine) => void): Promise<void> {
    for (let one = this.#left[0]; one; one = this.#left[0]) {
      try {
        await this.#carry(one, signal, progress);
      } catch (error) {
        if (!(error instanceof ApiError) || error.code !== 'exists' || one.overwrite || signal.aborted) throw error;
        await this.#settle(one, signal);
        continue;
      }
      this.#left.shift();
    }
  }

  async #carry(one: Carry, signal: AbortSignal, progress: (line: ProgressLine) => void): Promise<void> {
    const before = this.#line;
    const add = (line: ProgressLine): ProgressLine => ({ ...line, done: before.done + line.done, failed: before.failed + line.failed, bytes: before.bytes + line.bytes });
    let last: ProgressLine = { done: 1, failed: 0, bytes: 0 };
    if (this.kind === 'move' && !this.across) {
      await this.acts.rename(one.from, one.to, one.overwrite);
      progress(add(last));
    } else {
      last = await this.acts.copy(one.from, one.to, one.overwrite, signal, (line) => progress(add(line)));
      // What did not arrive stays where it is.
      if (this.kind === 'move' && !last.failed) await this.acts.remove(one.from, signal);
    }
    this.#line = { done: before.done + last.done, failed: before.failed + last.failed, bytes: before.bytes + last.bytes };
  }

  /** The name is taken: asks, unless it was answered for all. */
  async #settle(one: Carry, signal: AbortSignal): Promise<void> {
    let answer = this.#answer;
    // A folder that is moved within a target takes nobody's place.
    if (answer === 'replace' && !replaces(this.kind, this.across, one)) answer = null;
    if (!answer) {
      const said = await this.acts.ask(one, this.#left.length - 1);
      signal.throwIfAborted();
      answer = said.answer;
      if (said.all) this.#answer = answer;
    }
    if (answer === 'skip') this.#left.shift();
    else if (answer === 'replace') one.overwrite = true;
    else one.to = await this.#free(one.to);
  }

  async #free(path: WirePath): Promise<WirePath> {
    const name = decodeURIComponent(lastPart(path));
    for (let n = 2; ; n++) {
      const made = join(parentOf(path), beside(name, undefined, n));
      if (!(await this.acts.exists(made))) return made;
    }
  }
}

/** Whether what has the name can make room. */
export const replaces = (kind: 'copy' | 'move', across: boolean, one: Carry): boolean => !one.folder || kind === 'copy' || across;
