// The queue of this page: begins with what a reload left of it, and warns before the page is left.
import { auth } from '../../auth.svelte';
import { toasts } from '../../ui/toasts.svelte';
import { chmod, copy, remove, rename } from '../remote';
import type { Row } from '../order';
import { lastPart, textOf, type WirePath } from '../paths';
import { Carrying, replaces, type Carry } from './carry';
import type { Gathered, Keepable } from './gather';
import { recover } from './gather';
import { memory, remembered } from './memory';
import { Queue, TaskJob } from './queue.svelte';
import { transport, wait } from './transport';
import { UploadJob, type ItemState } from './upload.svelte';

const KEY = 'sojourn.queue';
let serial = 0;
const fresh = () => `q${Date.now().toString(36)}${serial++}`;

const user = auth.user?.id ?? '';
const kept = memory(user);
export const queue = new Queue({ transport, now: () => performance.now(), wait }, {
  ...kept,
  // So that the page knows to look after a reload, without opening the database each time.
  job: (job) => (mark(true), kept.job(job)),
});
function mark(some: boolean): void {
  try {
    if (some) localStorage.setItem(KEY, '1');
    else localStorage.removeItem(KEY);
  } catch {
    // Storage may be refused.
  }
}

setInterval(() => {
  if (queue.busy) queue.tick();
}, 500);
addEventListener('beforeunload', (event) => {
  if (queue.busy) event.preventDefault();
});

async function restore(): Promise<void> {
  const found = await remembered(user);
  if (!found.length) return mark(false);
  for (const { job: old, items } of found) {
    const job = new UploadJob(old.id, old.connection, old.connectionName, old.folder, queue.around);
    const files = await Promise.all(items.map((item) => (item.keep ? recover(item.keep, false) : null)));
    job.add(
      items.map((item, i) => ({ rel: item.rel, size: item.size, modified: item.modified, source: files[i] ? { file: async () => files[i]! } : null, ...(item.keep ? { keep: item.keep } : {}) })),
      items.map((item) => item.id),
    );
    for (const [i, item] of job.items.entries()) {
      const was = items[i]!;
      item.to = was.to;
      item.upload = was.upload;
      item.overwrite = was.overwrite;
      item.done = was.done;
      const state: ItemState = was.state === 'paused' || was.state === 'failed' || was.state === 'asking' ? was.state : files[i] ? 'waiting' : 'nofile';
      job.set(item, state === 'asking' ? 'waiting' : state);
    }
    queue.add(job);
  }
}
void restore();

/** Asks the browser for the files again that it kept handles of; must be called from a click. */
export async function askAgain(job: UploadJob): Promise<void> {
  let missing = 0;
  for (const item of job.items) {
    if (item.state !== 'nofile' && !(item.state === 'paused' && !item.wanted.source)) continue;
    const file = item.wanted.keep ? await recover(item.wanted.keep as Keepable, true) : null;
    if (!file) {
      missing += 1;
      continue;
    }
    item.wanted.source = { file: async () => file };
    job.set(item, 'waiting');
  }
  if (missing) toasts.say(missing === 1 ? 'One file has to be chosen again.' : `${missing} files have to be chosen again.`, true);
  queue.pump();
}
export const hasHandles = (job: UploadJob) => job.items.some((item) => item.state === 'nofile' && item.wanted.keep);

export interface Place {
  connection: string;
  name: string;
  path: WirePath;
}

export function upload(place: Place, found: Gathered): void {
  if (found.faults.length) toasts.say(`${found.faults.length} of what you dropped could not be read.`, true);
  if (!found.files.length && !found.empty.length) return;
  const job = new UploadJob(fresh(), place.connection, place.name, place.path, queue.around);
  job.empty = found.empty;
  job.add(found.files);
  queue.add(job);
}

const count = (n: number) => (n === 1 ? 'One item' : `${n} items`);
function task(connection: string, kind: TaskJob['kind'], title: string, detail: string, act: ConstructorParameters<typeof TaskJob>[5], after: () => void): TaskJob {
  const job = new TaskJob(fresh(), connection, kind, title, detail, act, after);
  queue.add(job);
  return job;
}

export function deleteAll(place: Place, paths: WirePath[], names: string[]): TaskJob {
  return task(place.connection, 'delete', names.length === 1 ? names[0]! : count(names.length), `from ${place.name}`, async (signal, progress) => void (await remove(place.connection, paths, true, signal, progress)), () => queue.tell(place.connection, place.path));
}

/** Copies or moves each of `list` in turn; between two targets the server passes the bytes through. */
export function carry(kind: 'copy' | 'move', source: Place, target: Place, list: Carry[], names: string[]): TaskJob {
  const same = source.connection === target.connection;
  const carrying = new Carrying(kind, !same, list, {
    copy: (from, to, overwrite, signal, progress) => copy(source.connection, from, to, overwrite, target.connection, signal, progress),
    rename: (from, to, overwrite) => rename(source.connection, from, to, overwrite),
    remove: (path, signal) => remove(source.connection, [path], true, signal, () => {}),
    exists: (path) => transport.exists(target.connection, path),
    ask: (one, others) =>
      made.ask({
        of: kind,
        name: textOf(lastPart(one.to)),
        connection: target.connection,
        connectionName: target.name,
        to: one.to,
        folder: one.folder ?? false,
        size: one.size ?? null,
        modified: one.modified ?? null,
        others,
        replaces: replaces(kind, !same, one),
      }),
  });
  const made = task(
    source.connection,
    kind,
    names.length === 1 ? names[0]! : count(names.length),
    same ? `to ${textOf(target.path)}` : `from ${source.name} to ${target.name}`,
    (signal, progress) => carrying.run(signal, progress),
    () => {
      queue.tell(target.connection, target.path);
      if (kind === 'move') queue.tell(source.connection, source.path);
    },
  );
  return made;
}

/** What of a row is carried, into a folder or to another name. */
export const carried = (row: Row, to: WirePath, overwrite = false): Carry => ({ from: row.path, to, overwrite, folder: row.folder, size: row.entry.size, modified: row.entry.modified });
export const into = (folder: WirePath, row: Row): WirePath => `${folder === '/' ? '' : folder}/${lastPart(row.path)}`;

export function permit(place: Place, path: WirePath, name: string, permissions: string): TaskJob {
  return task(place.connection, 'chmod', name, `on ${place.name}`, (signal, progress) => chmod(place.connection, path, permissions, true, signal, progress), () => queue.tell(place.connection, place.path));
}
