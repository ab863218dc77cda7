// How the panes of a tab share its room: a tree of splits.

export type Layout = { pane: string } | { dir: 'row' | 'column'; ratio: number; a: Layout; b: Layout };

export function panesOf(layout: Layout): string[] {
  return 'pane' in layout ? [layout.pane] : [...panesOf(layout.a), ...panesOf(layout.b)];
}

/** Puts `added` beside (`row`) or below (`column`) the pane `at`. */
export function split(layout: Layout, at: string, dir: 'row' | 'column', added: string): Layout {
  if ('pane' in layout) return layout.pane === at ? { dir, ratio: 0.5, a: layout, b: { pane: added } } : layout;
  return { ...layout, a: split(layout.a, at, dir, added), b: split(layout.b, at, dir, added) };
}

/** Without the pane; null when nothing is left. */
export function without(layout: Layout, pane: string): Layout | null {
  if ('pane' in layout) return layout.pane === pane ? null : layout;
  const a = without(layout.a, pane);
  const b = without(layout.b, pane);
  return a && b ? { ...layout, a, b } : (a ?? b);
}

/** With another share for the split that `path` leads to (`a` and `b`, from the top). */
export function shared(layout: Layout, path: string, ratio: number): Layout {
  if ('pane' in layout) return layout;
  if (!path) return { ...layout, ratio: Math.min(0.9, Math.max(0.1, ratio)) };
  const side = path[0] as 'a' | 'b';
  return { ...layout, [side]: shared(layout[side], path.slice(1), ratio) };
}

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}
export interface Divider extends Box {
  path: string;
  dir: 'row' | 'column';
  /** The room that the split shares out. */
  room: Box;
}

/** Where everything is, in parts of the whole (0 to 1). */
export function boxes(layout: Layout, room: Box = { left: 0, top: 0, width: 1, height: 1 }, path = ''): { panes: Map<string, Box>; dividers: Divider[] } {
  if ('pane' in layout) return { panes: new Map([[layout.pane, room]]), dividers: [] };
  const row = layout.dir === 'row';
  const first: Box = row ? { ...room, width: room.width * layout.ratio } : { ...room, height: room.height * layout.ratio };
  const second: Box = row
    ? { ...room, left: room.left + first.width, width: room.width - first.width }
    : { ...room, top: room.top + first.height, height: room.height - first.height };
  const a = boxes(layout.a, first, path + 'a');
  const b = boxes(layout.b, second, path + 'b');
  const divider: Divider = { path, dir: layout.dir, room, left: second.left, top: second.top, width: row ? 0 : room.width, height: row ? room.height : 0 };
  return { panes: new Map([...a.panes, ...b.panes]), dividers: [divider, ...a.dividers, ...b.dividers] };
}
