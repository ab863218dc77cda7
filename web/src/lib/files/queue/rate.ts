// How fast something goes, and how long it will take: what the last seconds say, not the average of all.

const WINDOW_MS = 8000;

export class Rate {
  #marks: [at: number, bytes: number][] = [];

  /** So many bytes have been moved in all. */
  mark(at: number, bytes: number): void {
    const last = this.#marks.at(-1);
    // What goes back (a piece is sent again) begins anew.
    if (last && bytes < last[1]) this.#marks = [];
    this.#marks.push([at, bytes]);
    while (this.#marks.length > 2 && at - this.#marks[0]![0] > WINDOW_MS) this.#marks.shift();
  }
  pause(): void {
    this.#marks = [];
  }
  /** Bytes in a second; null while it is too early to say. */
  get perSecond(): number | null {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)];
    if (!first || !last || last[0] - first[0] < 700) return null;
    return ((last[1] - first[1]) / (last[0] - first[0])) * 1000;
  }
  /** Milliseconds until the rest is moved. */
  remaining(rest: number): number | null {
    const rate = this.perSecond;
    return rate && rate > 0 ? (rest / rate) * 1000 : null;
  }
}
