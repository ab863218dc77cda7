// Something loaded from the server: its value, whether it is being loaded, and what went wrong.

export class Resource<T> {
  value = $state.raw<T | null>(null);
  error = $state.raw<unknown>(null);
  loading = $state(false);
  #load: (signal: AbortSignal) => Promise<T>;
  #abort: AbortController | null = null;

  constructor(load: (signal: AbortSignal) => Promise<T>) {
    this.#load = load;
  }

  /** Loads anew; the old value stays until the new one is there. The last call wins. */
  async reload(): Promise<void> {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.loading = true;
    try {
      const value = await this.#load(abort.signal);
      if (this.#abort !== abort) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (this.#abort !== abort || abort.signal.aborted) return;
      this.error = error;
    }
    this.loading = false;
  }

  /** News came in: what is being loaded may be older than it, and is loaded again. */
  renew(): void {
    if (this.loading) void this.reload();
  }

  stop(): void {
    this.#abort?.abort();
    this.#abort = null;
  }
}

/** A resource of a component: loaded at once and whenever something that `load` reads before its first
 *  `await` changes. */
export function resource<T>(load: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const made = new Resource(load);
  $effect(() => {
    void made.reload();
    return () => made.stop();
  });
  return made;
}
