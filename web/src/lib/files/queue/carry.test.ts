import { describe, expect, it } from 'vitest';
import { ApiError } from '../../api/client';
import type { ProgressLine } from '../../api/files';
import { Carrying, type Acts, type Carry } from './carry';
import type { Answer } from './question';

/** Two folders by name: what is carried, and where to. */
class Targets implements Acts {
  there = new Set<string>();
  log: string[] = [];
  asked: string[] = [];
  answers: { answer: Answer; all: boolean }[] = [];

  #take(to: string, overwrite: boolean): void {
    if (this.there.has(to) && !overwrite) throw new ApiError(409, 'exists', 'exists already');
    this.there.add(to);
  }
  async copy(from: string, to: string, overwrite: boolean, _: AbortSignal, progress: (line: ProgressLine) => void) {
    this.#take(to, overwrite);
    this.log.push(`copy ${from} ${to}${overwrite ? ' over' : ''}`);
    const last = { done: 2, failed: 0, bytes: 10, finished: true };
    progress(last);
    return last;
  }
  async rename(from: string, to: string, overwrite: boolean) {
    this.#take(to, overwrite);
    this.log.push(`rename ${from} ${to}${overwrite ? ' over' : ''}`);
  }
  async remove(path: string) {
    this.log.push(`remove ${path}`);
  }
  async exists(path: string) {
    return this.there.has(path);
  }
  async ask(one: Carry, others: number) {
    this.asked.push(`${one.to} ${others}`);
    return this.answers.shift()!;
  }
}
const list = (...names: string[]): Carry[] => names.map((name) => ({ from: `/a/${name}`, to: `/b/${name}`, overwrite: false }));
async function run(kind: 'copy' | 'move', across: boolean, some: Carry[], there: string[], answers: [Answer, boolean][]) {
  const targets = new Targets();
  there.forEach((path) => targets.there.add(path));
  targets.answers = answers.map(([answer, all]) => ({ answer, all }));
  const lines: ProgressLine[] = [];
  await new Carrying(kind, across, some, targets).run(new AbortController().signal, (line) => lines.push(line));
  return { ...targets, log: targets.log, asked: targets.asked, last: lines.at(-1) };
}

describe('carrying entries to another folder', () => {
  it('asks where a name is taken, and does what is answered', async () => {
    const { log, asked, last } = await run('copy', true, list('x', 'y.txt', 'z', 'free'), ['/b/x', '/b/y.txt', '/b/y%20%282%29.txt', '/b/z'], [
      ['replace', false],
      ['both', false],
      ['skip', false],
    ]);
    expect(asked).toEqual(['/b/x 3', '/b/y.txt 2', '/b/z 1']);
    expect(log).toEqual(['copy /a/x /b/x over', 'copy /a/y.txt /b/y%20%283%29.txt', 'copy /a/free /b/free']);
    expect(last).toMatchObject({ done: 6, bytes: 30 });
  });

  it('asks once when the answer is for all', async () => {
    const { log, asked } = await run('move', true, list('x', 'y', 'z'), ['/b/x', '/b/y'], [['replace', true]]);
    expect(asked).toHaveLength(1);
    expect(log).toEqual(['copy /a/x /b/x over', 'remove /a/x', 'copy /a/y /b/y over', 'remove /a/y', 'copy /a/z /b/z', 'remove /a/z']);
  });

  it('moves within a target by renaming, and never a folder onto another', async () => {
    const some = list('file', 'folder');
    some[1]!.folder = true;
    const { log, asked } = await run('move', false, some, ['/b/file', '/b/folder'], [
      ['replace', true],
      ['both', false],
    ]);
    expect(asked).toEqual(['/b/file 1', '/b/folder 0']);
    expect(log).toEqual(['rename /a/file /b/file over', 'rename /a/folder /b/folder%20%282%29']);
  });

  it('goes on where it failed, and repeats nothing', async () => {
    const targets = new Targets();
    const carrying = new Carrying('copy', true, list('x', 'y'), targets);
    const copy = targets.copy.bind(targets);
    targets.copy = async (from, ...rest) => {
      if (from === '/a/y' && !targets.log.includes('failed')) {
        targets.log.push('failed');
        throw new ApiError(502, 'target', 'gone');
      }
      return copy(from, ...rest);
    };
    const { signal } = new AbortController();
    await expect(carrying.run(signal, () => {})).rejects.toThrow('gone');
    await carrying.run(signal, () => {});
    expect(targets.log).toEqual(['copy /a/x /b/x', 'failed', 'copy /a/y /b/y']);
    expect(targets.asked).toEqual([]);
  });

  it('asks nothing when replacing was chosen before', async () => {
    const some = list('x');
    some[0]!.overwrite = true;
    const { log, asked } = await run('copy', false, some, ['/b/x'], []);
    expect([log, asked]).toEqual([['copy /a/x /b/x over'], []]);
  });
});
