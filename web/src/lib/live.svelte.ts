// One event stream for the whole page: what arrives is handed to whoever listens, and the state of the
// connection is for everybody to see. Nothing is polled.
import type { Device, DeviceCounts, PresenceEvent, Source } from './api/types';

interface Messages {
  presence: PresenceEvent;
  /** The whole device, or that it was removed. */
  device: (Device & { removed?: undefined }) | { mac: string; removed: true };
  source: (Source & { removed?: undefined }) | { id: string; removed: true };
  counts: DeviceCounts & { at: string };
}
type Kind = keyof Messages;
type Listener<K extends Kind> = (message: Messages[K]) => void;

export type LiveState = 'off' | 'connecting' | 'live' | 'reconnecting';

const MAX_WAIT_MS = 15_000;
/** A page that nobody sees gives its connection back: over HTTP/1.1 a browser has six to a server for all its pages, and a
 *  seventh page with a stream would wait for ever. A short look at another page costs nothing. */
const HIDDEN_MS = 10_000;

class Live {
  state = $state<LiveState>('off');
  /** Grows when messages may have been missed: pages that show lists load them again. */
  epoch = $state(0);

  #source: EventSource | null = null;
  #listeners = new Map<Kind, Set<Listener<Kind>>>();
  #wasLive = false;
  #waitMs = 1000;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #resting = false;

  start(): void {
    if (this.state !== 'off') return;
    this.state = 'connecting';
    document.addEventListener('visibilitychange', this.#seen);
    this.#open();
    this.#seen();
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.#seen);
    clearTimeout(this.#hidden);
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#wasLive = this.#resting = false;
    this.state = 'off';
  }

  #seen = (): void => {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => this.#rest(), HIDDEN_MS);
    } else if (this.#resting) {
      this.#resting = false;
      this.#open();
    }
  };

  /** Until somebody looks. What is missed until then, lists load again. */
  #rest(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#resting = this.#wasLive = true;
    this.#waitMs = 1000;
    this.state = 'reconnecting';
  }

  /** Calls `listener` for each message until the returned function is called. */
  on<K extends Kind>(kind: K, listener: Listener<K>): () => void {
    const set = this.#listeners.get(kind) ?? new Set();
    this.#listeners.set(kind, set);
    set.add(listener as Listener<Kind>);
    return () => set.delete(listener as Listener<Kind>);
  }

  #open(): void {
    const source = new EventSource('/api/v1/presence/stream');
    this.#source = source;
    source.onopen = () => {
      this.#waitMs = 1000;
      this.state = 'live';
      if (this.#wasLive) this.epoch += 1;
      this.#wasLive = true;
    };
    // The browser's own reconnecting gives up on the first refusal (a proxy's 502 while the server
    // restarts), so the stream is opened again here, each time after a longer wait.
    source.onerror = () => this.#reopen();
    source.addEventListener('lost', () => this.#reopen());
    for (const kind of ['presence', 'device', 'source', 'counts'] as const) {
      source.addEventListener(kind, (event) => this.#dispatch(kind, event as MessageEvent<string>));
    }
  }

  #reopen(): void {
    this.#source?.close();
    if (this.state === 'off') return;
    this.state = 'reconnecting';
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, MAX_WAIT_MS);
  }

  #dispatch(kind: Kind, event: MessageEvent<string>): void {
    const set = this.#listeners.get(kind);
    if (!set?.size) return;
    const message = JSON.parse(event.data) as Messages[Kind];
    for (const listener of set) listener(message);
  }
}

export const live = new Live();
