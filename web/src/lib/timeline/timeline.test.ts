import { describe, expect, it } from 'vitest';
import { draw, END_MISSING, OPEN, type Palette } from './draw';
import { firstAfter, pack } from './tiles';
import { clamp, levelOf, LONGEST, pan, SHORTEST, tileSpan, tilesOf, zoom } from './view';

const DAY = 86_400_000;
const NOW = Date.parse('2025-08-01T00:00:00Z');

describe('view', () => {
  it('keeps the moment under the pointer while zooming', () => {
    const view = { from: NOW - 8 * DAY, to: NOW - 4 * DAY };
    const around = NOW - 5 * DAY;
    const next = zoom(view, 0.5, around, NOW);
    const part = (at: number, v: typeof view) => (at - v.from) / (v.to - v.from);
    expect(part(around, next)).toBeCloseTo(part(around, view));
    expect(next.to - next.from).toBe(2 * DAY);
  });

  it('never gets lost in the future or beyond its limits', () => {
    expect(pan({ from: NOW - DAY, to: NOW }, 100 * DAY, NOW).to).toBe(NOW + DAY / 4);
    expect(clamp({ from: NOW - 1, to: NOW }, NOW).to - clamp({ from: NOW - 1, to: NOW }, NOW).from).toBe(SHORTEST);
    const far = zoom({ from: NOW - 366 * DAY, to: NOW }, 100, NOW, NOW);
    expect(far.to - far.from).toBe(LONGEST);
  });

  it('is covered by at most two tiles at its level', () => {
    for (let span = SHORTEST; span < LONGEST; span *= 1.3) {
      for (const shift of [0, 0.3, 0.77]) {
        const view = { from: NOW - span * (1 + shift), to: NOW - span * shift };
        const level = levelOf(span);
        const tiles = tilesOf(view, level);
        expect(tiles.length).toBeLessThanOrEqual(2);
        expect(tiles[0]! * tileSpan(level)).toBeLessThanOrEqual(view.from);
        expect((tiles.at(-1)! + 1) * tileSpan(level)).toBeGreaterThanOrEqual(view.to);
      }
    }
  });
});

describe('strips', () => {
  const strip = pack([[0, 10, 0], [20, 30, 0], [40, 50, 0]]);
  it.each([[-1, 0], [9, 0], [10, 1], [25, 1], [49, 2], [50, 3]])('after %d comes interval %d', (at, index) => {
    expect(firstAfter(strip, at)).toBe(index);
  });
});

describe('draw', () => {
  const colours: Palette = { line: 'line', weekend: 'weekend', closed: 'closed', open: 'open', uncertain: 'uncertain', ink: 'ink', now: 'now' };
  function drawn(intervals: [number, number, number][], view = { from: 0, to: 1000 }, now = 5000) {
    const rects: [string, number, number][] = [];
    const context = { fillStyle: '', clearRect() {}, fillRect(x: number, _y: number, w: number) { rects.push([this.fillStyle, x, w]); } };
    const strip = pack(intervals);
    draw(context as unknown as CanvasRenderingContext2D, { view, now, width: 100, height: 20, rowHeight: 20, firstRow: 0, lastRow: 1, ticks: [], pieces: () => [{ strip, from: 0, to: 1000 }] }, colours);
    return rects.filter(([style]) => style !== 'line');
  }

  it('draws what sticks out only as far as the view', () => {
    expect(drawn([[-500, 200, 0], [900, 3000, 0]])).toEqual([['closed', 0, 20], ['closed', 90, 10]]);
  });

  it('needs one rectangle for many sessions within a pixel', () => {
    const many = Array.from({ length: 1000 }, (_, i): [number, number, number] => [i, i + 0.5, 0]);
    expect(drawn(many)).toEqual([['closed', 0, 100]]);
  });

  it('shows an instant as one pixel, an open session up to now, a missing end as a mark', () => {
    expect(drawn([[100, 100, 0]])).toEqual([['closed', 10, 1]]);
    expect(drawn([[500, 510, OPEN]], { from: 0, to: 1000 }, 700)).toEqual([['open', 50, 20], ['now', 70, 1]]);
    expect(drawn([[100, 300, END_MISSING]])).toEqual([['closed', 10, 20], ['uncertain', 27, 3]]);
  });
});
