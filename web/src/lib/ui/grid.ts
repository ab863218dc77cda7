// What a column of a DataGrid is, and which columns fit.

export interface Column {
  key: string;
  label: string;
  /** A CSS grid track. */
  width: string;
  /** The field the server sorts by. */
  sort?: string;
  /** Shown only when the grid is at least this wide, in px. */
  from?: number;
  align?: 'right';
}

export function fitting(columns: Column[], width: number, hidden: ReadonlySet<string>): Column[] {
  return columns.filter((column) => !hidden.has(column.key) && width >= (column.from ?? 0));
}

/** The rows to draw: those in view and a few around them. */
export function windowOf(scrollTop: number, viewHeight: number, rowHeight: number, total: number, overscan = 8): [number, number] {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - overscan);
  const last = Math.min(total, Math.ceil((scrollTop + viewHeight) / rowHeight) + overscan);
  return [Math.min(first, Math.max(0, total - 1)), Math.max(last, 0)];
}
