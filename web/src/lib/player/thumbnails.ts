// Small pictures of a film, made while somebody looks for a place in it: by one hidden film that goes there, one picture at a
// time, the one wanted last first. What was made is kept, up to a bound.

/** Pictures that are kept: 160 of 176 by 99 pixels are 11 MB. */
const MOST = 160;
/** Stretches of a film that have a picture of their own, at most; none is shorter than half a second. */
const STRETCHES = 300;
const SHORTEST = 500;

/** Which stretch a moment of a film belongs to, and the moment in it that stands for it (milliseconds). */
export function stretch(ms: number, whole: number): { number: number; at: number } {
  const length = Math.max(SHORTEST, whole / STRETCHES);
  const number = Math.floor(Math.min(Math.max(0, ms), whole) / length);
  return { number, at: Math.min(whole, (number + 0.5) * length) };
}

/** The largest size that fits into a box. */
export function fit(width: number, height: number, box: { width: number; height: number }): { width: number; height: number } {
  const scale = Math.min(box.width / Math.max(1, width), box.height / Math.max(1, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** What was used last stays; what was not used for longest goes first. */
export class Kept<T> {
  readonly #kept = new Map<number, T>();
  constructor(
    private readonly most: number,
    private readonly gone: (value: T) => void,
  ) {}
  get(key: number): T | undefined {
    const value = this.#kept.get(key);
    if (value === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, value);
    return value;
  }
  set(key: number, value: T) {
    this.#kept.set(key, value);
    if (this.#kept.size <= this.most) return;
    const [oldest, last] = this.#kept.entries().next().value!;
    this.#kept.delete(oldest);
    this.gone(last);
  }
  clear() {
    for (const value of this.#kept.values()) this.gone(value);
    this.#kept.clear();
  }
}

export class Thumbnails {
  readonly #film = document.createElement('video');
  readonly #kept = new Kept<ImageBitmap>(MOST, (picture) => picture.close());
  #wanted: { number: number; at: number } | null = null;
  #making: number | null = null;
  #closed = false;

  /** `made` is told when the picture that was asked for last is there. */
  constructor(
    source: string,
    private readonly whole: number,
    private readonly box: { width: number; height: number },
    private readonly made: (picture: ImageBitmap) => void,
  ) {
    this.#film.muted = true;
    this.#film.preload = 'metadata';
    this.#film.onloadeddata = () => this.#go();
    this.#film.onseeked = () => void this.#draw();
    // A film that cannot be loaded has no pictures: its player says so.
    this.#film.onerror = () => (this.#making = null);
    this.#film.src = source;
  }

  /** The picture of a moment if it is there; else it is made. */
  ask(ms: number): ImageBitmap | null {
    const wanted = stretch(ms, this.whole);
    const kept = this.#kept.get(wanted.number);
    this.#wanted = kept ? null : wanted;
    if (kept) return kept;
    this.#go();
    return null;
  }

  #go() {
    if (this.#closed || !this.#wanted || this.#making !== null || this.#film.readyState < HTMLMediaElement.HAVE_METADATA) return;
    this.#making = this.#wanted.number;
    this.#film.currentTime = this.#wanted.at / 1000;
  }

  async #draw() {
    const number = this.#making;
    if (number === null || !this.#film.videoWidth) return;
    const { width, height } = fit(this.#film.videoWidth, this.#film.videoHeight, this.box);
    const picture = await createImageBitmap(this.#film, { resizeWidth: width, resizeHeight: height, resizeQuality: 'medium' }).catch(() => null);
    this.#making = null;
    if (this.#closed) return picture?.close();
    if (picture) {
      this.#kept.set(number, picture);
      if (this.#wanted?.number === number) {
        this.#wanted = null;
        this.made(picture);
      }
    } else if (this.#wanted?.number === number) {
      // It would fail again.
      this.#wanted = null;
    }
    this.#go();
  }

  close() {
    this.#closed = true;
    this.#kept.clear();
    this.#film.removeAttribute('src');
    this.#film.load();
  }
}
