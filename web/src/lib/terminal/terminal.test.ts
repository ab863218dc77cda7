import { describe, expect, it } from 'vitest';
import { boxes, panesOf, shared, split, without, type Layout } from './layout';
import { deservesQuestion, harmless, lineCount } from './paste';

describe('layout', () => {
  const one: Layout = { pane: 'p1' };
  const two = split(one, 'p1', 'row', 'p2');
  const three = split(two, 'p2', 'column', 'p3');

  it('splits beside and below, and closes up again', () => {
    expect(panesOf(three)).toEqual(['p1', 'p2', 'p3']);
    expect(without(three, 'p2')).toEqual({ dir: 'row', ratio: 0.5, a: { pane: 'p1' }, b: { pane: 'p3' } });
    expect(without(one, 'p1')).toBeNull();
  });

  it('gives every pane its room and every split a divider', () => {
    const { panes, dividers } = boxes(shared(three, '', 0.25));
    expect(panes.get('p1')).toEqual({ left: 0, top: 0, width: 0.25, height: 1 });
    expect(panes.get('p3')).toEqual({ left: 0.25, top: 0.5, width: 0.75, height: 0.5 });
    expect(dividers.map(({ path, dir }) => [path, dir])).toEqual([['', 'row'], ['b', 'column']]);
  });

  it('never lets a pane vanish', () => {
    expect(shared(two, '', 0)).toMatchObject({ ratio: 0.1 });
    expect(shared(three, 'b', 7)).toMatchObject({ b: { ratio: 0.9 } });
  });
});

describe('paste', () => {
  it('takes out what a terminal would obey', () => {
    expect(harmless('a\x1b[201~b\r\nc\td\x07\x9b')).toBe('a[201~b\nc\td');
  });
  it('asks before lines that would run at once, and before many in any case', () => {
    expect(deservesQuestion('ls', false)).toBe(false);
    expect(deservesQuestion('ls\n', false)).toBe(true);
    expect(deservesQuestion('ls\n', true)).toBe(false);
    expect(deservesQuestion('a\nb', true)).toBe(false);
    expect(deservesQuestion(Array(12).fill('x').join('\n'), true)).toBe(true);
    expect(lineCount('a\nb\n')).toBe(2);
  });
});
