// A name is taken: what is to become of what is on its way there?
import type { WirePath } from '../paths';

export type Answer = 'replace' | 'both' | 'skip';

export interface Question {
  /** Tells one question from the next. */
  readonly id: string;
  readonly of: 'upload' | 'copy' | 'move';
  readonly name: string;
  readonly connection: string;
  readonly connectionName: string;
  /** The place that is taken. */
  readonly to: WirePath;
  readonly folder: boolean;
  readonly size: number | null;
  readonly modified: string | null;
  /** How many more may be asked for. */
  readonly others: number;
  /** Whether `replace` is an answer. */
  readonly replaces: boolean;
  decide(answer: Answer, all: boolean): Promise<void> | void;
  /** Gives all of it up. */
  cancel(): void;
}
