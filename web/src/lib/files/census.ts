// How much there is in folders: looks through them until it knows, or until it has looked enough.
import { list } from './remote';
import { rowOf } from './order';
import type { WirePath } from './paths';

export interface Census {
  files: number;
  folders: number;
  bytes: number;
  /** Everything was counted. */
  complete: boolean;
  /** Counting has ended, complete or not. */
  over: boolean;
}
/** Each folder that is read is an event of the file session, so not all of a disk is. */
const MOST_FOLDERS = 60;

export async function census(connection: string, folders: WirePath[], signal: AbortSignal, tell: (census: Census) => void): Promise<void> {
  const found: Census = { files: 0, folders: 0, bytes: 0, complete: false, over: false };
  const left = [...folders];
  let read = 0;
  try {
    for (let at = left.shift(); at !== undefined; at = left.shift()) {
      if (++read > MOST_FOLDERS) return tell({ ...found, over: true });
      const folder = at;
      await list(connection, folder, signal, () => {}, (entries) => {
        for (const entry of entries) {
          if (entry.kind === 'folder') {
            found.folders += 1;
            left.push(rowOf(entry, folder).path);
          } else {
            found.files += 1;
            found.bytes += entry.kind === 'file' ? (entry.size ?? 0) : 0;
          }
        }
      });
      tell({ ...found });
    }
    tell({ ...found, complete: true, over: true });
  } catch {
    if (!signal.aborted) tell({ ...found, over: true });
  }
}
