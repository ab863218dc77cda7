// Draws rows of presence on a canvas. At most one rectangle a pixel and row, so that a year of many short
// sessions costs no more than a day.
import type { Tick } from '../ticks';
import { firstAfter, type Strip } from './tiles';
import type { View } from './view';

export const OPEN = 1;
export const START_MISSING = 2;
export const END_MISSING = 4;
export const MANUAL = 8;

export interface Palette {
  line: string;
  weekend: string;
  closed: string;
  open: string;
  uncertain: string;
  ink: string;
  now: string;
}

export function paletteOf(element: Element): Palette {
  const style = getComputedStyle(element);
  const value = (name: string) => style.getPropertyValue(name).trim();
  return { line: value('--line'), weekend: value('--sunken'), closed: value('--closed'), open: value('--online'), uncertain: value('--uncertain'), ink: value('--ink'), now: value('--accent') };
}

export interface Piece {
  strip: Strip;
  /** The tile's bounds: what sticks out of them belongs to its neighbours. */
  from: number;
  to: number;
}

export interface Scene {
  view: View;
  now: number;
  width: number;
  height: number;
  rowHeight: number;
  firstRow: number;
  lastRow: number;
  ticks: Tick[];
  pieces: (row: number) => Piece[];
}

export function draw(context: CanvasRenderingContext2D, scene: Scene, colours: Palette): void {
  const { view, width, height, rowHeight, firstRow, lastRow, now } = scene;
  const scale = width / (view.to - view.from);
  context.clearRect(0, 0, width, height);

  for (const tick of scene.ticks) {
    context.fillStyle = colours.line;
    context.fillRect(Math.round((tick.at - view.from) * scale), 0, 1, height);
  }
  context.fillStyle = colours.line;
  for (let row = firstRow; row < lastRow; row++) context.fillRect(0, (row - firstRow + 1) * rowHeight - 1, width, 1);

  const barHeight = Math.round(rowHeight * 0.46);
  const caps: number[] = [];
  const manual: number[] = [];
  const opens: number[] = [];
  context.fillStyle = colours.closed;
  for (let row = firstRow; row < lastRow; row++) {
    const y = (row - firstRow) * rowHeight + Math.floor((rowHeight - barHeight) / 2);
    let left = -1;
    let right = -2;
    for (const { strip, from, to } of scene.pieces(row)) {
      const low = Math.max(from, view.from);
      const high = Math.min(to, view.to);
      for (let i = firstAfter(strip, low); i < strip.starts.length; i++) {
        const start = strip.starts[i]!;
        if (start >= high) break;
        const flag = strip.flags[i]!;
        const end = flag & OPEN ? Math.max(now, strip.ends[i]!) : strip.ends[i]!;
        const x0 = Math.floor((Math.max(start, low) - view.from) * scale);
        const x1 = Math.max(x0 + 1, Math.round((Math.min(end, high) - view.from) * scale));
        if (flag & OPEN) opens.push(x0, y, x1 - x0);
        else if (x0 <= right) right = Math.max(right, x1);
        else {
          if (right > left) context.fillRect(left, y, right - left, barHeight);
          left = x0;
          right = x1;
        }
        if (flag & START_MISSING && start > low) caps.push(x0, y);
        if (flag & END_MISSING && end < high) caps.push(Math.max(x0, x1 - 3), y);
        if (flag & MANUAL) manual.push(x0, y, x1 - x0);
      }
    }
    if (right > left) context.fillRect(left, y, right - left, barHeight);
  }
  context.fillStyle = colours.open;
  for (let i = 0; i < opens.length; i += 3) context.fillRect(opens[i]!, opens[i + 1]!, opens[i + 2]!, barHeight);
  // An unknown boundary: amber, and taller than the bar, so that the shape says it too.
  context.fillStyle = colours.uncertain;
  for (let i = 0; i < caps.length; i += 2) context.fillRect(caps[i]!, caps[i + 1]! - 3, 3, barHeight + 6);
  // Entered by hand: underlined.
  context.fillStyle = colours.ink;
  for (let i = 0; i < manual.length; i += 3) context.fillRect(manual[i]!, manual[i + 1]! + barHeight + 1, manual[i + 2]!, 2);

  const x = Math.round((now - view.from) * scale);
  if (x >= 0 && x <= width) {
    context.fillStyle = colours.now;
    context.fillRect(x, 0, 1, height);
  }
}
