// A desktop over RDP, for whoever shows desktops: it is used as noVNC's RFB is. IronRDP reads and draws; keys, pointer and
// sizes are handled here, because its own web component brings styles that the page's policy forbids.
import { Backend, displayControl, enableCredssp, init } from '@devolutions/iron-remote-desktop-rdp';
import type { Pipe } from '../pipe';
import { scancode } from './scancodes';
import { addressOf } from './socket';

type Session = Awaited<ReturnType<InstanceType<typeof Backend.SessionBuilder>['connect']>>;
type DeviceEvent = ReturnType<typeof Backend.DeviceEvent.keyPressed>;

/** How long a new size of the page has to last until the desktop gets it. */
const SETTLED_MS = 400;
/** What targets take (MS-RDPEDISP 2.2.2.2.1). */
const [LEAST, MOST] = [200, 8192];

let ready: Promise<void> | null = null;

const within = (pixels: number) => Math.max(LEAST, Math.min(MOST, Math.floor(pixels)));

export default class RdpScreen extends EventTarget {
  readonly #host: HTMLElement;
  readonly #canvas = document.createElement('canvas');
  readonly #gone = new AbortController();
  readonly #sizes = new ResizeObserver(() => this.#resized());
  #session: Session | null = null;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #wanted = '';
  #scale = true;
  #text = '';
  #over = false;
  readonly viewOnly: boolean;
  clipViewport = false;
  background = '';

  constructor(host: HTMLElement, pipe: Pipe, options: { clipboard: boolean; viewOnly: boolean }) {
    super();
    this.#host = host;
    this.viewOnly = options.viewOnly;
    this.#canvas.tabIndex = 0;
    this.#canvas.className = 'block outline-none';
    this.#canvas.setAttribute('aria-label', 'The desktop');
    this.#canvas.setAttribute('role', 'application');
    host.append(this.#canvas);
    this.#sizes.observe(host);
    this.#connect(pipe, options.clipboard).catch((error: unknown) => this.#end(error));
  }

  async #connect(pipe: Pipe, clipboard: boolean): Promise<void> {
    await (ready ??= init('error'));
    if (this.#over) return;
    const { width, height } = this.#room();
    this.#wanted = `${width} ${height}`;
    const builder = new Backend.SessionBuilder()
      // The server has logged in, and knows where.
      .username('browser')
      .password('')
      .destination('desktop')
      .serverDomain('')
      .authToken('none')
      .proxyAddress(addressOf(pipe))
      .desktopSize(new Backend.DesktopSize(width, height))
      .renderCanvas(this.#canvas)
      .setCursorStyleCallbackContext(this)
      .setCursorStyleCallback((kind: string, data?: string, x?: number, y?: number) => this.#cursor(kind, data, x, y))
      .canvasResizedCallback(() => this.#place())
      .extension(enableCredssp(false))
      .extension(displayControl(true));
    if (clipboard) {
      builder.remoteClipboardChangedCallback((data: InstanceType<typeof Backend.ClipboardData>) => this.#copied(data)).forceClipboardUpdateCallback(() => this.#offer());
    }
    const session = await builder.connect();
    if (this.#over) {
      session.shutdown();
      return;
    }
    this.#session = session;
    const { width: w, height: h } = session.desktopSize();
    [this.#canvas.width, this.#canvas.height] = [w, h];
    this.#place();
    if (!this.viewOnly) this.#listen();
    this.dispatchEvent(new Event('connect'));
    await session.run();
    this.#end(null);
  }

  #end(error: unknown): void {
    if (this.#over) return;
    if (error) console.error('RDP:', error);
    this.disconnect();
    this.dispatchEvent(new CustomEvent('disconnect', { detail: { clean: !error } }));
  }

  disconnect(): void {
    if (this.#over) return;
    this.#over = true;
    this.#gone.abort();
    this.#sizes.disconnect();
    clearTimeout(this.#settling);
    try {
      this.#session?.shutdown();
    } catch {
      // It has ended by itself.
    }
    this.#session = null;
    this.#canvas.remove();
  }

  // Sizes

  get scaleViewport(): boolean {
    return this.#scale;
  }
  set scaleViewport(scale: boolean) {
    this.#scale = scale;
    this.#place();
    this.#resized();
  }

  #room(): { width: number; height: number } {
    const { clientWidth, clientHeight } = this.#host;
    // Targets take even widths alone.
    return { width: within(clientWidth) & ~1, height: within(clientHeight) };
  }

  /** The desktop gets the page's size, where it is to fit; what cannot change its size is scaled. */
  #resized(): void {
    this.#place();
    clearTimeout(this.#settling);
    if (!this.#scale || this.#over) return;
    this.#settling = setTimeout(() => {
      const { width, height } = this.#room();
      if (!this.#session || this.#wanted === `${width} ${height}`) return;
      this.#wanted = `${width} ${height}`;
      this.#session.resize(width, height);
    }, SETTLED_MS);
  }

  #place(): void {
    const { width, height } = this.#canvas;
    if (!width || !height) return;
    this.#host.style.overflow = this.#scale ? 'hidden' : 'auto';
    const factor = this.#scale ? Math.min(this.#host.clientWidth / width, this.#host.clientHeight / height) : 1;
    this.#canvas.style.width = `${width * factor}px`;
    this.#canvas.style.height = `${height * factor}px`;
    this.#canvas.style.margin = this.#scale ? `${Math.max(0, (this.#host.clientHeight - height * factor) / 2)}px auto 0` : '0';
  }

  #cursor(kind: string, data?: string, x?: number, y?: number): void {
    this.#canvas.style.cursor = kind === 'url' && data ? `url(${data}) ${x ?? 0} ${y ?? 0}, default` : kind === 'none' ? 'none' : 'default';
  }

  // Input

  #send(...events: DeviceEvent[]): void {
    if (!this.#session || this.viewOnly) return;
    const transaction = new Backend.InputTransaction();
    for (const event of events) transaction.addEvent(event);
    this.#session.applyInputs(transaction);
  }

  #listen(): void {
    const on = <K extends keyof HTMLElementEventMap>(name: K, heard: (event: HTMLElementEventMap[K]) => void, options: AddEventListenerOptions = {}) =>
      this.#canvas.addEventListener(name, heard, { ...options, signal: this.#gone.signal });
    const { DeviceEvent } = Backend;
    const move = (event: MouseEvent) => {
      const box = this.#canvas.getBoundingClientRect();
      const along = (at: number, length: number, pixels: number) => Math.max(0, Math.min(pixels - 1, Math.floor((at * pixels) / length)));
      return DeviceEvent.mouseMove(along(event.clientX - box.left, box.width, this.#canvas.width), along(event.clientY - box.top, box.height, this.#canvas.height));
    };
    on('pointermove', (event) => this.#send(move(event)));
    on('pointerdown', (event) => {
      this.#canvas.setPointerCapture(event.pointerId);
      this.#send(move(event), DeviceEvent.mouseButtonPressed(event.button));
    });
    on('pointerup', (event) => this.#send(move(event), DeviceEvent.mouseButtonReleased(event.button)));
    on('contextmenu', (event) => event.preventDefault());
    on(
      'wheel',
      (event) => {
        event.preventDefault();
        const vertical = event.deltaY !== 0;
        this.#send(move(event), DeviceEvent.wheelRotations(vertical, -(vertical ? event.deltaY : event.deltaX), event.deltaMode));
      },
      { passive: false },
    );
    const key = (event: KeyboardEvent) => {
      event.preventDefault();
      const down = event.type === 'keydown';
      const scan = scancode(event.code);
      if (scan !== undefined) this.#send(down ? DeviceEvent.keyPressed(scan) : DeviceEvent.keyReleased(scan));
      // A key that only touch screens have, or none that keyboards of that time had.
      else if (event.key.length === 1) this.#send(down ? DeviceEvent.unicodePressed(event.key) : DeviceEvent.unicodeReleased(event.key));
    };
    on('keydown', key);
    on('keyup', key);
    // What is held down when the page is left would stay so.
    on('blur', () => this.#session?.releaseAllInputs());
    on('focus', () => this.#session?.releaseAllInputs());
    on('keydown', (event) => {
      if (['CapsLock', 'NumLock', 'ScrollLock'].includes(event.code)) return;
      const lock = (name: string) => event.getModifierState(name);
      const now = [lock('ScrollLock'), lock('NumLock'), lock('CapsLock')].join();
      if (now === this.#locks) return;
      this.#locks = now;
      this.#session?.synchronizeLockKeys(lock('ScrollLock'), lock('NumLock'), lock('CapsLock'), false);
    }, { capture: true });
  }
  #locks = '';

  /** As noVNC's: the keysym means nothing here. */
  sendKey(_keysym: number, code: string, down: boolean): void {
    const scan = scancode(code);
    if (scan !== undefined) this.#send(down ? Backend.DeviceEvent.keyPressed(scan) : Backend.DeviceEvent.keyReleased(scan));
  }

  focus(): void {
    this.#canvas.focus({ preventScroll: true });
  }

  // Clipboard

  #copied(data: InstanceType<typeof Backend.ClipboardData>): void {
    for (const item of data.items()) {
      const value: unknown = item.value();
      if (item.mimeType() === 'text/plain' && typeof value === 'string') this.dispatchEvent(new CustomEvent('clipboard', { detail: { text: value } }));
    }
  }

  #offer(): void {
    const data = new Backend.ClipboardData();
    if (this.#text) data.addText('text/plain', this.#text);
    this.#session?.onClipboardPaste(data).catch((error: unknown) => console.error('RDP:', error));
  }

  clipboardPasteFrom(text: string): void {
    this.#text = text;
    this.#offer();
  }
}
