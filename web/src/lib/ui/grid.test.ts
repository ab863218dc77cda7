import { describe, expect, it } from 'vitest';
import { fitting, windowOf } from './grid';

describe('grid', () => {
  it('draws only what is in view and a little more', () => {
    expect(windowOf(0, 600, 30, 10_000)).toEqual([0, 28]);
    expect(windowOf(30_000, 600, 30, 10_000)).toEqual([992, 1028]);
    expect(windowOf(999_999, 600, 30, 10)[1]).toBe(10);
    expect(windowOf(0, 600, 30, 0)).toEqual([0, 0]);
  });

  it('drops columns that do not fit or are hidden', () => {
    const columns = [{ key: 'a', label: '', width: '' }, { key: 'b', label: '', width: '', from: 800 }, { key: 'c', label: '', width: '' }];
    expect(fitting(columns, 700, new Set(['c'])).map((column) => column.key)).toEqual(['a']);
    expect(fitting(columns, 800, new Set()).map((column) => column.key)).toEqual(['a', 'b', 'c']);
  });
});
