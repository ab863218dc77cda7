// What noVNC takes for its socket: the bytes of a socket on which words travel too.
import type { Channel } from '@novnc/novnc';

type Heard = Channel['onmessage'];

export class Pipe implements Channel {
  binaryType = 'arraybuffer';
  protocol = '';
  readyState = 'open';
  onopen: Channel['onopen'] = null;
  onclose: Channel['onclose'] = null;
  onerror: Channel['onerror'] = null;
  #heard: Heard = null;
  #early: ArrayBuffer[] = [];
  readonly #out: (data: ArrayBuffer | ArrayBufferView<ArrayBuffer>) => void;

  constructor(out: (data: ArrayBuffer | ArrayBufferView<ArrayBuffer>) => void) {
    this.#out = out;
  }

  get onmessage(): Heard {
    return this.#heard;
  }
  set onmessage(heard: Heard) {
    this.#heard = heard;
    // Not within the call: noVNC knows only after it that it listens.
    queueMicrotask(() => {
      if (!this.#heard) return;
      for (const data of this.#early.splice(0)) this.#heard({ data });
    });
  }

  /** Bytes from the server. */
  receive(data: ArrayBuffer): void {
    if (this.#heard && this.#early.length === 0) this.#heard({ data });
    else this.#early.push(data);
  }

  send(data: ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    if (this.readyState === 'open') this.#out(data);
  }

  close(): void {
    // Not within the call: noVNC begins to wait for the end only after it.
    queueMicrotask(() => this.over());
  }

  /** Nothing more comes. */
  over(): void {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.onclose?.({ code: 1000, reason: '', wasClean: true });
  }
}
