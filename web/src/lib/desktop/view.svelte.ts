// One desktop: its ticket, its socket, and what of it there is to show. A connection that is lost is a session that has
// ended; connecting again is another session.
import type RFB from '@novnc/novnc';
import type { EndReason } from '../api/access';
import { api } from '../api/client';
import type { Chord } from './keys';
import { play } from './keys';
import { Pipe } from './pipe';
import type RdpScreen from './rdp/screen';

export type State = 'loading' | 'connecting' | 'asking' | 'connected' | 'ended';
export type Size = 'fit' | 'exact';

/** What binary messages are. */
type Speaks = 'rfb' | 'rdcleanpath';

/** What the server says in words. */
type Message =
  | { type: 'session'; id: string; connectionName: string; speaks: Speaks; recorded: boolean; viewOnly: boolean; allowCopy: boolean; allowPaste: boolean }
  | { type: 'prompt'; text: string; echo: boolean }
  | { type: 'notice'; text: string }
  | { type: 'end'; reason: EndReason; detail: string };

type Screen = RFB | RdpScreen;

/** A connection to open, or a session to look on at; slowly where it is one of many. */
export type Target = { open: string } | { watch: string; slow?: boolean };

/** The server takes no longer text. */
export const LONGEST_TEXT = 1_000_000;

export class DesktopView {
  state = $state<State>('loading');
  name = $state('');
  sessionId = $state<string | null>(null);
  recorded = $state(false);
  viewOnly = $state(false);
  allowCopy = $state(false);
  allowPaste = $state(false);
  notice = $state<string | null>(null);
  prompt = $state.raw<{ text: string; echo: boolean } | null>(null);
  ending = $state.raw<{ reason: EndReason | null; detail: string } | null>(null);
  /** What was last copied on the desktop. */
  copied = $state('');
  size = $state<Size>('fit');
  #host: HTMLElement | null = null;
  #rfb: Screen | null = null;
  #pipe: Pipe | null = null;
  #socket: WebSocket | null = null;
  #closed = false;

  constructor(readonly target: Target) {}

  /** Connects, and shows the desktop in `host` until {@link leave}. */
  async open(host: HTMLElement): Promise<void> {
    this.#host = host;
    this.#closed = false;
    this.ending = this.notice = this.prompt = null;
    this.sessionId = null;
    this.state = 'loading';
    try {
      const { ticket } = await this.#ticket();
      if (this.#closed) return;
      this.state = 'connecting';
      this.#connect(ticket);
    } catch (error) {
      this.#end(null, error instanceof Error ? error.message : String(error));
    }
  }

  #ticket(): Promise<{ ticket: string }> {
    const target = this.target;
    return 'open' in target ? api.post(`/connections/${target.open}/tickets`, {}) : api.post(`/sessions/${target.watch}/tickets`, { purpose: 'watch' });
  }

  #connect(ticket: string): void {
    const url = new URL('/api/v1/desktop', location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url, ['sojourn.desktop.v1', `ticket.${ticket}`]);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    socket.onopen = () => this.#say('open' in this.target ? { type: 'start' } : { type: 'start', slow: this.target.slow ?? false });
    socket.onmessage = (event) => {
      if (this.#socket !== socket) return;
      if (typeof event.data === 'string') this.#read(JSON.parse(event.data) as Message);
      else this.#pipe?.receive(event.data as ArrayBuffer);
    };
    socket.onclose = (event) => {
      if (this.#socket !== socket) return;
      this.#end(this.sessionId ? 'client_lost' : null, event.reason || 'The connection to the server broke.');
    };
  }

  #say(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #read(message: Message): void {
    switch (message.type) {
      case 'session':
        this.sessionId = message.id;
        this.name = message.connectionName;
        this.recorded = message.recorded;
        this.viewOnly = message.viewOnly;
        this.allowCopy = message.allowCopy;
        this.allowPaste = message.allowPaste;
        void this.#show(message.speaks);
        break;
      case 'prompt':
        this.prompt = { text: message.text, echo: message.echo };
        this.state = 'asking';
        break;
      case 'notice':
        this.notice = message.text;
        break;
      case 'end':
        this.#end(message.reason, message.detail);
        break;
    }
  }

  async #show(speaks: Speaks): Promise<void> {
    const pipe = new Pipe((data) => this.#socket?.readyState === WebSocket.OPEN && this.#socket.send(data));
    this.#pipe = pipe;
    let rfb: Screen;
    try {
      // What is needed for one is not loaded for the other; the server waits.
      if (speaks === 'rdcleanpath') {
        const { default: Rdp } = await import('./rdp/screen');
        if (this.#pipe !== pipe || !this.#host) return;
        rfb = new Rdp(this.#host, pipe, { clipboard: this.allowCopy || this.allowPaste, viewOnly: this.viewOnly });
      } else {
        const { default: Rfb } = await import('@novnc/novnc');
        if (this.#pipe !== pipe || !this.#host) return;
        rfb = new Rfb(this.#host, pipe, { shared: true });
        rfb.viewOnly = this.viewOnly;
      }
    } catch (error) {
      this.#end(null, error instanceof Error ? error.message : String(error));
      return;
    }
    this.#rfb = rfb;
    rfb.background = 'transparent';
    this.fit(this.size);
    rfb.addEventListener('connect', () => {
      this.state = 'connected';
      if ('open' in this.target) rfb.focus();
    });
    rfb.addEventListener('clipboard', (event) => (this.copied = (event as CustomEvent<{ text: string }>).detail.text));
    rfb.addEventListener('disconnect', (event) => {
      if (this.#rfb !== rfb) return;
      this.#rfb = null;
      if (!(event as CustomEvent<{ clean: boolean }>).detail.clean) this.#end('failed', 'The browser could not read what the desktop sent.');
    });
  }

  #end(reason: EndReason | null, detail: string): void {
    if (this.state === 'ended') return;
    this.#drop();
    this.ending = { reason, detail };
    this.prompt = null;
    this.state = 'ended';
  }

  #drop(): void {
    const [rfb, socket] = [this.#rfb, this.#socket];
    this.#rfb = this.#socket = null;
    // noVNC closes the pipe itself.
    if (rfb) rfb.disconnect();
    this.#pipe?.over();
    this.#pipe = null;
    this.#host?.replaceChildren();
    socket?.close(1000);
  }

  /** Ends the session, if there is one. */
  leave(): void {
    this.#closed = true;
    this.#say({ type: 'close' });
    this.#drop();
  }

  /** Ends the session and stays, to see how it went. */
  disconnect(): void {
    this.#say({ type: 'close' });
  }

  again(): void {
    if (this.#host) void this.open(this.#host);
  }

  answer(text: string): void {
    this.prompt = null;
    this.state = 'connecting';
    this.#say({ type: 'answer', text });
  }

  fit(size: Size): void {
    this.size = size;
    if (!this.#rfb) return;
    this.#rfb.scaleViewport = size === 'fit';
    this.#rfb.clipViewport = false;
  }

  press(chord: Chord): void {
    const rfb = this.#rfb;
    if (!rfb) return;
    play(chord, (sym, code, down) => rfb.sendKey(sym, code, down));
    rfb.focus();
  }

  paste(text: string): void {
    this.#rfb?.clipboardPasteFrom(text);
  }

  focus(): void {
    this.#rfb?.focus();
  }
}
