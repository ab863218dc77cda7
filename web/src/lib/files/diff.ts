// What differs between two texts, line by line.

export interface DiffLine {
  sign: ' ' | '-' | '+';
  text: string;
}
/** Beyond so many differing lines the two are shown one after the other. */
const MOST = 2500;

export function diff(before: string, after: string): DiffLine[] {
  const [a, b] = [before.split('\n'), after.split('\n')];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const [x, y] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const same = (lines: string[]): DiffLine[] => lines.map((text) => ({ sign: ' ', text }));
  return [...same(a.slice(0, start)), ...middle(x, y), ...same(a.slice(a.length - end))];
}

function middle(x: string[], y: string[]): DiffLine[] {
  const all = (sign: '-' | '+', lines: string[]): DiffLine[] => lines.map((text) => ({ sign, text }));
  if (!x.length || !y.length || x.length > MOST || y.length > MOST) return [...all('-', x), ...all('+', y)];
  // The longest common run of lines, from the end.
  const width = y.length + 1;
  const length = new Uint16Array((x.length + 1) * width);
  for (let i = x.length - 1; i >= 0; i--) {
    for (let j = y.length - 1; j >= 0; j--) {
      length[i * width + j] = x[i] === y[j] ? length[(i + 1) * width + j + 1]! + 1 : Math.max(length[(i + 1) * width + j]!, length[i * width + j + 1]!);
    }
  }
  const out: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      out.push({ sign: ' ', text: x[i]! });
      i += 1;
      j += 1;
    } else if (i < x.length && (j >= y.length || length[(i + 1) * width + j]! >= length[i * width + j + 1]!)) out.push({ sign: '-', text: x[i++]! });
    else out.push({ sign: '+', text: y[j++]! });
  }
  return out;
}

/** Without what is far from any difference; a gap is `null`. */
export function around(lines: DiffLine[], context = 3): (DiffLine | null)[] {
  const near = new Array<boolean>(lines.length).fill(false);
  lines.forEach((line, at) => {
    if (line.sign === ' ') return;
    for (let i = Math.max(0, at - context); i <= Math.min(lines.length - 1, at + context); i++) near[i] = true;
  });
  return lines.flatMap((line, at) => (near[at] ? [line] : at > 0 && !near[at - 1] ? [] : [null]));
}
