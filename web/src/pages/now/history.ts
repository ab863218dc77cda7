// The geometry of the chart of counts.
import type { HistoryPoint } from '../../lib/api/types';

export type Layer = 'online' | 'sleeping' | 'unknown' | 'down';

/** The smallest round number that is not below `value`, and is even so that its half is whole. */
export function niceTop(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  for (const factor of [1, 2, 4, 6, 8, 10]) {
    const top = Math.max(2, Math.round(factor * power));
    if (top >= value && top % 2 === 0) return top;
  }
  return 10 * power;
}

/** The SVG path of the layer `index`, standing on the layers before it; counts hold until the next point. */
export function area(
  points: HistoryPoint[],
  times: number[],
  layers: Layer[],
  index: number,
  x: (at: number) => number,
  y: (value: number) => number,
  lineOnly = false,
): string {
  const below = points.map((point) => layers.slice(0, index).reduce((sum, layer) => sum + point[layer], 0));
  const above = points.map((point, i) => below[i]! + point[layers[index]!]);
  const step = (values: number[]) => values.map((value, i) => (i ? `H${x(times[i]!).toFixed(1)}V${y(value).toFixed(1)}` : `${x(times[i]!).toFixed(1)} ${y(value).toFixed(1)}`)).join('');
  if (lineOnly) return `M${step(above)}`;
  let back = '';
  for (let i = points.length - 1; i >= 0; i--) back += `V${y(below[i]!).toFixed(1)}H${x(times[i]!).toFixed(1)}`;
  return `M${step(above)}${back}Z`;
}
