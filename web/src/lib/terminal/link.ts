// One terminal's way to the server: the WebSocket, what was received, and coming back to the same session after a loss.
// Knows nothing of how a terminal is drawn.
import { ApiError, api } from '../api/client';
import type { EndReason, Viewer } from '../api/access';

export type LinkState = 'connecting' | 'connected' | 'lost' | 'ended';
export type Mode = 'open' | 'attach' | 'watch' | 'join';

export interface Ending {
  reason: EndReason | null;
  detail: string | null;
  exitStatus: number | null;
}
export interface Prompt {
  text: string;
  echo: boolean;
}
export interface Size {
  cols: number;
  rows: number;
}

/** What the server says in words; bytes of output come as binary messages. */
type Message =
  | { type: 'session'; id: string; connectionName: string; recorded: boolean; attach?: { graceSeconds: number } | null }
  | { type: 'snapshot'; cols: number; rows: number; data: string; offset: number }
  | { type: 'resize'; cols: number; rows: number }
  | ({ type: 'prompt' } & Prompt)
  | { type: 'notice'; text: string }
  | { type: 'viewers'; viewers: Viewer[] }
  | { type: 'end'; reason: EndReason; detail?: string | null; exitStatus?: number | null };

export interface LinkEvents {
  state(state: LinkState): void;
  session(id: string, name: string, recorded: boolean): void;
  /** Draws the bytes, then calls `done`: so the server learns how far the terminal has come. */
  output(bytes: Uint8Array, done: () => void): void;
  snapshot(cols: number, rows: number, data: string): void;
  resize(cols: number, rows: number): void;
  prompt(prompt: Prompt): void;
  notice(text: string): void;
  viewers(viewers: Viewer[]): void;
  ended(ending: Ending): void;
}

interface Ticket {
  ticket: string;
  expiresAt: string;
}

const ACK_BYTES = 32 * 1024;
const ACK_MS = 400;
/** The server takes no larger message. */
const PIECE_BYTES = 64 * 1024;
const MAX_WAIT_MS = 8_000;
const OPEN_MS = 15_000;

export class TerminalLink {
  state: LinkState = 'connecting';
  sessionId: string | null;
  /** Output bytes that came in, since the session's start. */
  received: number;
  #drawn: number;
  #acked: number;
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #socket: WebSocket | null = null;
  #attempt = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #openTimer: ReturnType<typeof setTimeout> | undefined;
  #lostAt = 0;
  #graceSeconds = 120;
  #closed = false;
  #size: Size;
  #password: string | undefined;

  constructor(
    private readonly mode: Mode,
    private readonly target: string,
    private readonly events: LinkEvents,
    options: { size: Size; password?: string; received?: number },
  ) {
    this.sessionId = mode === 'open' ? null : target;
    this.received = this.#drawn = this.#acked = options.received ?? 0;
    this.#size = options.size;
    this.#password = options.password;
    addEventListener('online', this.#hurry);
    addEventListener('offline', this.#offline);
    document.addEventListener('visibilitychange', this.#hurry);
    void this.#connect();
  }

  get reads(): boolean {
    return this.mode !== 'watch';
  }

  /** Seconds until the server gives a lost session up. */
  get secondsLeft(): number {
    return Math.max(0, Math.ceil(this.#graceSeconds - (Date.now() - this.#lostAt) / 1000));
  }

  input(bytes: Uint8Array): void {
    if (!this.reads || this.state !== 'connected') return;
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) this.#socket?.send(bytes.slice(at, at + PIECE_BYTES));
  }

  resize(size: Size): void {
    this.#size = size;
    if (this.mode === 'watch' || this.mode === 'join' || this.state !== 'connected') return;
    this.#send({ type: 'resize', ...size });
  }

  answer(text: string): void {
    this.#send({ type: 'answer', text });
  }

  retry(): void {
    this.#attempt = 0;
    this.#again();
  }

  /** Ends the session, if it is one's own; a viewer only leaves. */
  close(): void {
    if (this.#closed) return;
    if (this.mode === 'open' || this.mode === 'attach') this.#send({ type: 'close' });
    this.#stop();
    this.#socket?.close(1000);
  }

  /** Lets go without ending the session: it can be attached again within its grace period. */
  leave(): void {
    this.#stop();
    this.#socket?.close(1000);
  }

  #stop(): void {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#openTimer);
    removeEventListener('online', this.#hurry);
    removeEventListener('offline', this.#offline);
    document.removeEventListener('visibilitychange', this.#hurry);
  }

  #hurry = (): void => {
    if (this.state === 'lost' && document.visibilityState === 'visible') this.retry();
  };

  /** TCP would notice minutes later that there is no network. */
  #offline = (): void => {
    if (this.state === 'connected') this.#lost();
  };

  #send(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #become(state: LinkState): void {
    this.state = state;
    this.events.state(state);
  }

  #end(ending: Ending): void {
    if (this.state === 'ended') return;
    this.#stop();
    this.#become('ended');
    this.events.ended(ending);
    this.#socket?.close(1000);
  }

  async #ticket(): Promise<string> {
    if (!this.sessionId) return (await api.post<Ticket>(`/connections/${this.target}/tickets`, {})).ticket;
    const purpose = this.mode === 'open' ? 'attach' : this.mode;
    return (await api.post<Ticket>(`/sessions/${this.sessionId}/tickets`, { purpose })).ticket;
  }

  async #connect(): Promise<void> {
    let ticket: string;
    try {
      ticket = await this.#ticket();
    } catch (error) {
      if (this.#closed) return;
      const gone = error instanceof ApiError && !error.unreachable && error.status < 500 && error.status !== 429;
      if (gone || !this.sessionId) {
        const over = error instanceof ApiError && (error.status === 404 || error.status === 409 || error.status === 410) && !!this.sessionId;
        this.#end({ reason: over ? 'client_lost' : null, detail: over ? 'The session ended while you were away.' : error instanceof Error ? error.message : String(error), exitStatus: null });
      } else this.#again();
      return;
    }
    if (this.#closed) return;
    const url = new URL('/api/v1/terminal', location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, ['sojourn.terminal.v1', `ticket.${ticket}`]);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    clearTimeout(this.#openTimer);
    this.#openTimer = setTimeout(() => socket.readyState === WebSocket.CONNECTING && socket.close(), OPEN_MS);
    socket.onopen = () => {
      clearTimeout(this.#openTimer);
      this.#send({ type: 'start', ...this.#size, term: 'xterm-256color', ...(this.#password !== undefined ? { password: this.#password } : {}), ...(this.sessionId ? { received: this.received } : {}) });
      this.#password = undefined;
    };
    socket.onmessage = (event) => {
      if (this.#socket !== socket) return;
      if (typeof event.data === 'string') this.#read(JSON.parse(event.data) as Message);
      else this.#output(new Uint8Array(event.data as ArrayBuffer));
    };
    socket.onclose = (event) => {
      if (this.#socket !== socket || this.#closed) return;
      this.#socket = null;
      if (!this.sessionId) this.#end({ reason: null, detail: event.reason || 'The server closed the connection before the session began.', exitStatus: null });
      else this.#lost();
    };
  }

  #lost(): void {
    if (this.state === 'ended') return;
    if (this.state !== 'lost') {
      this.#lostAt = Date.now();
      this.#attempt = 0;
    }
    this.#again();
  }

  #again(): void {
    clearTimeout(this.#retryTimer);
    const old = this.#socket;
    this.#socket = null;
    old?.close();
    if (this.state !== 'lost') {
      this.#lostAt = Date.now();
      this.#become('lost');
    }
    const wait = Math.min(MAX_WAIT_MS, 400 * 2 ** this.#attempt++);
    this.#retryTimer = setTimeout(() => void this.#connect(), this.#attempt === 1 ? 150 : wait);
  }

  #read(message: Message): void {
    switch (message.type) {
      case 'session':
        this.sessionId = message.id;
        this.#graceSeconds = message.attach?.graceSeconds ?? this.#graceSeconds;
        this.#attempt = 0;
        this.events.session(message.id, message.connectionName, message.recorded);
        this.#become('connected');
        break;
      case 'snapshot':
        this.received = this.#drawn = this.#acked = message.offset;
        this.events.snapshot(message.cols, message.rows, message.data);
        break;
      case 'resize':
        this.events.resize(message.cols, message.rows);
        break;
      case 'prompt':
        this.events.prompt({ text: message.text, echo: message.echo });
        break;
      case 'notice':
        this.events.notice(message.text);
        break;
      case 'viewers':
        this.events.viewers(message.viewers);
        break;
      case 'end':
        this.#end({ reason: message.reason, detail: message.detail ?? null, exitStatus: message.exitStatus ?? null });
        break;
    }
  }

  #output(bytes: Uint8Array): void {
    this.received += bytes.length;
    const upTo = this.received;
    this.events.output(bytes, () => {
      // A snapshot may have set the count anew in between.
      if (upTo <= this.#drawn || upTo > this.received) return;
      this.#drawn = upTo;
      if (this.#drawn - this.#acked >= ACK_BYTES) this.#ack();
      else this.#ackTimer ??= setTimeout(() => this.#ack(), ACK_MS);
    });
  }

  #ack(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    if (this.#closed || this.#drawn === this.#acked) return;
    this.#acked = this.#drawn;
    this.#send({ type: 'ack', received: this.#drawn });
  }
}
