import { describe, expect, it } from 'vitest';
import { ApiError } from '../../api/client';
import { textOf } from '../paths';
import { PARALLEL, Queue, TaskJob } from './queue.svelte';
import { Rate } from './rate';
import { PIECE, UploadJob, WHOLE, type Item, type Transport, type Wanted } from './upload.svelte';

const MB = 1024 * 1024;

/** A target that keeps files, and can be told to fail. */
class Target implements Transport {
  files = new Map<string, number>();
  folders: string[] = [];
  uploads = new Map<string, { path: string; size: number; offset: number; overwrite: boolean }>();
  log: string[] = [];
  fail: (what: string) => Error | null = () => null;
  /** Requests that begin so are never answered. */
  stuck: string | null = null;
  atOnce = 0;
  most = 0;

  async #step(what: string, signal?: AbortSignal): Promise<void> {
    this.log.push(what);
    this.most = Math.max(this.most, ++this.atOnce);
    try {
      await new Promise<void>((resolve, reject) => {
        signal?.addEventListener('abort', () => reject(new DOMException('stopped', 'AbortError')));
        if (this.stuck === null || !what.startsWith(this.stuck)) queueMicrotask(resolve);
      });
      const error = this.fail(what);
      if (error) throw error;
    } finally {
      this.atOnce -= 1;
    }
  }
  #taken(path: string, overwrite: boolean): void {
    if (this.files.has(path) && !overwrite) throw new ApiError(409, 'exists', 'exists already');
  }
  async whole(_: string, path: string, file: Blob, overwrite: boolean, signal: AbortSignal, progress: (bytes: number) => void) {
    await this.#step(`whole ${path}`, signal);
    this.#taken(path, overwrite);
    progress(file.size);
    this.files.set(path, file.size);
  }
  async begin(_: string, path: string, size: number, __: number, overwrite: boolean, signal: AbortSignal) {
    await this.#step(`begin ${path}`, signal);
    this.#taken(path, overwrite);
    const id = `upl_${this.uploads.size}`;
    this.uploads.set(id, { path, size, offset: 0, overwrite });
    return { id, offset: 0 };
  }
  async offset(_: string, id: string, signal: AbortSignal) {
    await this.#step(`offset ${id}`, signal);
    const upload = this.uploads.get(id);
    if (!upload) throw new ApiError(404, 'not_found', 'no such upload');
    return upload.offset;
  }
  async piece(_: string, id: string, offset: number, piece: Blob, signal: AbortSignal, progress: (bytes: number) => void) {
    await this.#step(`piece ${offset}`, signal);
    const upload = this.uploads.get(id)!;
    progress(piece.size);
    expect(offset).toBe(upload.offset);
    return (upload.offset += piece.size);
  }
  async finish(_: string, id: string, signal: AbortSignal) {
    await this.#step(`finish ${id}`, signal);
    const upload = this.uploads.get(id)!;
    expect(upload.offset).toBe(upload.size);
    this.files.set(upload.path, upload.size);
    this.uploads.delete(id);
  }
  async drop(_: string, id: string) {
    this.log.push(`drop ${id}`);
    this.uploads.delete(id);
  }
  async mkdir(_: string, path: string) {
    await this.#step(`mkdir ${path}`);
    this.folders.push(path);
  }
  async exists(_: string, path: string) {
    return this.files.has(path);
  }
}

function setting() {
  const target = new Target();
  const kept = new Set<Item>();
  const forgotten: UploadJob[] = [];
  const waits: number[] = [];
  let now = 0;
  const queue = new Queue(
    { transport: target, now: () => (now += 100), wait: async (ms) => void waits.push(ms) },
    { job: () => {}, item: (item) => void kept.add(item), forget: (job) => void forgotten.push(job) },
  );
  const wanted = (rel: string, size: number): Wanted => {
    const file = Object.assign(new Blob([new Uint8Array(size)]), { name: rel.split('/').at(-1)!, lastModified: 1000 }) as unknown as File;
    return { rel, size, modified: 1000, source: { file: async () => file } };
  };
  const job = (...files: Wanted[]) => {
    const made = new UploadJob('q', 'conn_1', 'web-server', '/srv', queue.around);
    made.add(files);
    queue.add(made);
    return made;
  };
  return { target, queue, kept, forgotten, waits, wanted, job };
}
const settled = async (until: () => boolean) => {
  for (let i = 0; i < 4000 && !until(); i++) await new Promise((resolve) => setTimeout(resolve, 0));
  expect(until()).toBe(true);
};
const states = (job: UploadJob) => job.items.map((item) => item.state);

describe('queue', () => {
  it('sends small files whole, long ones in pieces, and makes each folder once', async () => {
    const { target, job, wanted, forgotten } = setting();
    const made = job(wanted('photos/a b.jpg', 10), wanted('photos/2026/ü.jpg', 20), wanted('photos/c.jpg', 30), wanted('film.mkv', 2 * PIECE + 5));
    await settled(() => made.over);
    expect([...target.files.keys()].map(textOf).sort()).toEqual(['/srv/film.mkv', '/srv/photos/2026/ü.jpg', '/srv/photos/a b.jpg', '/srv/photos/c.jpg']);
    expect(target.folders.sort()).toEqual(['/srv/photos', '/srv/photos/2026']);
    expect(target.log.filter((line) => line.startsWith('piece'))).toEqual(['piece 0', `piece ${PIECE}`, `piece ${2 * PIECE}`]);
    expect(made.done).toBe(made.total);
    expect(forgotten).toEqual([made]);
  });

  it('runs no more than a few at once', async () => {
    const { target, job, wanted } = setting();
    const made = job(...Array.from({ length: 40 }, (_, i) => wanted(`${i}`, 5)));
    await settled(() => made.over);
    expect(target.most).toBe(PARALLEL);
    expect(target.files.size).toBe(40);
  });

  it('pauses in the middle of a piece and goes on where the server is', async () => {
    const { target, job, wanted, queue } = setting();
    const size = 3 * PIECE;
    target.stuck = `piece ${PIECE}`;
    const made = job(wanted('film.mkv', size));
    await settled(() => target.log.includes(`piece ${PIECE}`));
    made.pause();
    expect(states(made)).toEqual(['paused']);
    expect(queue.busy).toBe(0);
    target.stuck = null;
    const before = target.log.length;
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(target.log.length).toBe(before);
    made.resume();
    await settled(() => made.over);
    expect(target.log.slice(before)[0]).toMatch(/^offset /);
    expect(target.files.get('/srv/film.mkv')).toBe(size);
    expect(target.log.filter((line) => line.startsWith('begin')).length).toBe(1);
  });

  it('waits longer and longer while nothing answers, and goes on by itself', async () => {
    const { target, job, wanted, waits } = setting();
    let failures = 3;
    target.fail = (what) => (what.startsWith('piece') && failures-- > 0 ? new ApiError(0, 'unreachable', 'no answer') : null);
    const made = job(wanted('film.mkv', WHOLE + 1));
    await settled(() => made.over);
    expect(waits).toEqual([1000, 2000, 4000]);
    expect(states(made)).toEqual(['done']);
  });

  it('says why it failed, and tries again when asked', async () => {
    const { target, job, wanted } = setting();
    let full = true;
    target.fail = (what) => (full && what.startsWith('whole') ? new ApiError(507, 'target_full', 'No space is left there') : null);
    const made = job(wanted('a', 3), wanted('b', 3));
    await settled(() => made.counts.failed === 2);
    expect(made.items[0]?.error).toBe('No space is left there');
    expect(made.over).toBe(false);
    full = false;
    made.retry(made.items[0]);
    await settled(() => made.counts.done === 1);
    made.retry();
    await settled(() => made.over);
    expect(states(made)).toEqual(['done', 'done']);
  });

  it('gives up after many tries that brought nothing', async () => {
    const { target, job, wanted, waits } = setting();
    target.fail = () => new ApiError(504, 'target_timeout', 'The target does not answer');
    const made = job(wanted('a', 3));
    await settled(() => made.counts.failed === 1);
    expect(waits.length).toBe(6);
    expect(made.items[0]?.error).toBe('The target does not answer');
  });

  it('asks when a name is taken, and does what is answered', async () => {
    const { target, job, wanted } = setting();
    for (const name of ['a.txt', 'b.txt', 'b (2).txt', 'c.txt', 'd.txt']) target.files.set(`/srv/${encodeURIComponent(name).replace(/[()]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)}`, 1);
    const made = job(wanted('a.txt', 10), wanted('b.txt', 11), wanted('c.txt', 12), wanted('d.txt', 13), wanted('e.txt', 14));
    await settled(() => made.counts.asking === 4 && made.counts.done === 1);
    await made.decide(made.items[0]!, 'replace', false);
    await made.decide(made.items[1]!, 'both', false);
    await settled(() => made.counts.done === 3);
    expect(target.files.get('/srv/a.txt')).toBe(10);
    expect(made.items[1]?.name).toBe('b (3).txt');
    expect(made.asking).toBe(made.items[2]);
    await made.decide(made.items[2]!, 'skip', true);
    await settled(() => made.over);
    expect(states(made)).toEqual(['done', 'done', 'skipped', 'skipped', 'done']);
    expect(target.files.get('/srv/c.txt')).toBe(1);
  });

  it('asks no more after an answer for all', async () => {
    const { target, job, wanted } = setting();
    target.files.set('/srv/a', 1);
    target.files.set('/srv/long', 1);
    const made = job(wanted('a', 10));
    await settled(() => made.counts.asking === 1);
    await made.decide(made.items[0]!, 'replace', true);
    await settled(() => made.over);
    made.add([wanted('long', WHOLE + 7)]);
    made.resume();
    await settled(() => made.over);
    expect(target.files.get('/srv/long')).toBe(WHOLE + 7);
  });

  it('waits for its file after a reload, and takes only the right one', async () => {
    const { target, queue, wanted } = setting();
    const { source, ...without } = wanted('folder/film.mkv', 5 * MB);
    target.uploads.set('upl_old', { path: '/srv/folder/film.mkv', size: 5 * MB, offset: 2 * MB, overwrite: false });
    const made = new UploadJob('q', 'conn_1', 'web-server', '/srv', queue.around);
    made.add([{ ...without, source: null }]);
    made.items[0]!.upload = 'upl_old';
    made.items[0]!.done = 2 * MB;
    made.set(made.items[0]!, 'nofile');
    queue.add(made);
    const file = await source!.file();
    expect(made.give([{ rel: 'film.mkv', file: Object.assign(new Blob(['other']), { name: 'film.mkv', lastModified: 1000 }) as unknown as File }])).toBe(0);
    expect(made.give([{ rel: 'film.mkv', file }])).toBe(1);
    await settled(() => made.over);
    expect(target.log).toContain(`piece ${2 * MB}`);
    expect(target.log.some((line) => line.startsWith('begin'))).toBe(false);
  });

  it('begins anew when the server has forgotten an upload', async () => {
    const { target, queue, wanted } = setting();
    const made = new UploadJob('q', 'conn_1', 'web-server', '/srv', queue.around);
    made.add([wanted('film.mkv', 5 * MB)]);
    made.items[0]!.upload = 'upl_gone';
    queue.add(made);
    await settled(() => made.over);
    expect(target.files.get('/srv/film.mkv')).toBe(5 * MB);
  });

  it('takes back what was begun when it is cancelled', async () => {
    const { target, queue, job, wanted } = setting();
    target.stuck = '';
    const made = job(wanted('film.mkv', 5 * MB), wanted('b', 1));
    made.items[0]!.upload = 'upl_0';
    made.cancel();
    expect(states(made)).toEqual(['cancelled', 'cancelled']);
    expect(target.log).toContain('drop upl_0');
    expect(queue.busy).toBe(0);
    queue.clear();
    expect(queue.jobs).toEqual([]);
  });

  it('tells what of a task failed', async () => {
    const { queue } = setting();
    let fails = true;
    const task = new TaskJob('t', 'conn_1', 'delete', 'folder', '', async (_, progress) => {
      if (fails) progress({ path: '/x', done: 0, failed: 1, bytes: 0, error: 'not yours' });
      progress({ done: 2, failed: fails ? 1 : 0, bytes: 0, finished: true });
    }, () => {});
    queue.add(task);
    await settled(() => task.state === 'failed');
    expect(task.faults).toEqual([{ path: '/x', error: 'not yours' }]);
    fails = false;
    await task.run();
    expect(task.state).toBe('done');
  });
});

describe('rate', () => {
  it('follows the last seconds', () => {
    const rate = new Rate();
    expect(rate.perSecond).toBeNull();
    for (let s = 0; s <= 20; s++) rate.mark(s * 1000, s * 1_000_000);
    expect(rate.perSecond).toBeCloseTo(1_000_000);
    expect(rate.remaining(5_000_000)).toBeCloseTo(5000);
    for (let s = 21; s <= 40; s++) rate.mark(s * 1000, 20_000_000);
    expect(rate.perSecond).toBe(0);
    expect(rate.remaining(1)).toBeNull();
  });
});
