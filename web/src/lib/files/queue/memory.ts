// What of the queue outlives a reload, in IndexedDB. A browser that refuses it loses the queue with the page.
import type { Keepable } from './gather';
import type { Memory } from './queue.svelte';
import type { Item } from './upload.svelte';

export interface KeptJob {
  id: string;
  user: string;
  connection: string;
  connectionName: string;
  folder: string;
}
export interface KeptItem {
  id: string;
  job: string;
  at: number;
  rel: string;
  size: number;
  modified: number;
  to: string;
  upload: string | null;
  overwrite: boolean;
  done: number;
  state: string;
  keep?: Keepable;
}

const DB = 'sojourn-files';
let opened: Promise<IDBDatabase> | null = null;
function database(): Promise<IDBDatabase> {
  return (opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DB, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('jobs', { keyPath: 'id' });
      request.result.createObjectStore('items', { keyPath: 'id' }).createIndex('job', 'job');
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  }));
}
async function write(act: (jobs: IDBObjectStore, items: IDBObjectStore) => void): Promise<void> {
  try {
    const transaction = (await database()).transaction(['jobs', 'items'], 'readwrite');
    act(transaction.objectStore('jobs'), transaction.objectStore('items'));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } catch {
    // Not kept: the transfer goes on, and ends with the page.
  }
}
const all = <T>(store: IDBObjectStore) =>
  new Promise<T[]>((resolve, reject) => {
    const request = store.getAll();
    request.onsuccess = () => resolve(request.result as T[]);
    request.onerror = () => reject(request.error);
  });

const keptItem = (item: Item, at: number): KeptItem => ({
  id: item.id,
  job: item.job.id,
  at,
  rel: item.wanted.rel,
  size: item.size,
  modified: item.wanted.modified,
  to: item.to,
  upload: item.upload,
  overwrite: item.overwrite,
  done: item.done,
  state: item.state,
  ...(item.wanted.keep ? { keep: item.wanted.keep as Keepable } : {}),
});

/** Remembers jobs of `user`. Items are written together, a moment after they change. */
export function memory(user: string): Memory {
  const changed = new Set<Item>();
  const known = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    timer = undefined;
    const some = [...changed].filter((item) => known.has(item.job.id));
    changed.clear();
    void write((_, items) => {
      for (const item of some) {
        if (item.over) items.delete(item.id);
        else items.put(keptItem(item, item.job.items.indexOf(item)));
      }
    });
  };
  addEventListener('pagehide', flush);
  return {
    job(job) {
      known.add(job.id);
      void write((jobs, items) => {
        jobs.put({ id: job.id, user, connection: job.connection, connectionName: job.connectionName, folder: job.folder } satisfies KeptJob);
        for (const [at, item] of job.items.entries()) if (!item.over) items.put(keptItem(item, at));
      });
    },
    item(item) {
      changed.add(item);
      timer ??= setTimeout(flush, 400);
    },
    forget(job) {
      if (!known.delete(job.id)) return;
      void write((jobs, items) => {
        jobs.delete(job.id);
        for (const item of job.items) items.delete(item.id);
      });
    },
  };
}

/** What `user` had under way. What somebody else left in this browser is forgotten. */
export async function remembered(user: string): Promise<{ job: KeptJob; items: KeptItem[] }[]> {
  try {
    const transaction = (await database()).transaction(['jobs', 'items'], 'readonly');
    const [jobs, items] = await Promise.all([all<KeptJob>(transaction.objectStore('jobs')), all<KeptItem>(transaction.objectStore('items'))]);
    const mine = new Set(jobs.filter((job) => job.user === user).map((job) => job.id));
    const orphans = items.filter((item) => !mine.has(item.job));
    const empty = jobs.filter((job) => job.user !== user || !items.some((item) => item.job === job.id));
    if (orphans.length || empty.length)
      void write((store, itemStore) => {
        for (const job of empty) store.delete(job.id);
        for (const item of orphans) itemStore.delete(item.id);
      });
    return jobs.flatMap((job) => {
      const own = items.filter((item) => item.job === job.id).sort((a, b) => a.at - b.at);
      return job.user === user && own.length ? [{ job, items: own }] : [];
    });
  } catch {
    return [];
  }
}
