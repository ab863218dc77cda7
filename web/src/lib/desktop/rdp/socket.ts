// What IronRDP takes for its WebSocket: the bytes of a socket on which words travel too. The build puts `openSocket` where
// it would open one (`ironRdp` in vite.config.ts).
import type { Pipe } from '../pipe';

const waiting = new Map<string, Pipe>();
let made = 0;

/** An address under which IronRDP finds this pipe, once. */
export function addressOf(pipe: Pipe): string {
  const address = `ws://desktop.invalid/${(made += 1)}`;
  waiting.set(address, pipe);
  return address;
}

export class PipeSocket extends EventTarget {
  binaryType = 'arraybuffer';
  readonly protocol = '';
  readonly extensions = '';
  readonly bufferedAmount = 0;
  readonly #pipe: Pipe;

  constructor(
    readonly url: string,
    pipe: Pipe,
  ) {
    super();
    this.#pipe = pipe;
    queueMicrotask(() => {
      this.dispatchEvent(new Event('open'));
      pipe.onmessage = ({ data }) => this.dispatchEvent(new MessageEvent('message', { data }));
    });
    pipe.onclose = ({ code, reason, wasClean }) => this.dispatchEvent(new CloseEvent('close', { code, reason, wasClean }));
  }

  get readyState(): number {
    // OPEN, CLOSED.
    return this.#pipe.readyState === 'open' ? 1 : 3;
  }

  send(data: ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    this.#pipe.send(data);
  }

  close(): void {
    this.#pipe.close();
  }
}

export function openSocket(address: string): PipeSocket {
  const pipe = waiting.get(address);
  if (!pipe) throw new Error('there is no such desktop');
  waiting.delete(address);
  return new PipeSocket(address, pipe);
}
