// A terminal on the page: xterm.js with what it needs here. Loaded when the first terminal is opened.
import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal } from '@xterm/xterm';
import type { WebglAddon } from '@xterm/addon-webgl';
import { SCHEMES } from './schemes';
import { styleSafeDocument, withSafeSheets } from './sheets';

export interface ScreenOptions {
  fontSize: number;
  scheme: keyof typeof SCHEMES;
  gpu: boolean;
  reader?: boolean;
  /** Takes no keys, and its size is the session's own. */
  readOnly?: boolean;
  scrollback?: number;
  /** Something else draws now, and measures otherwise. */
  ondraw?: () => void;
}

const FONT = "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono', monospace";
let sharedDocument: Document | undefined;

/** Only what a browser opens anyway, in a tab of its own that knows nothing of this one. */
function follow(event: MouseEvent, uri: string): void {
  if (!event.ctrlKey && !event.metaKey) return;
  let url: URL;
  try {
    url = new URL(uri);
  } catch {
    return;
  }
  if (url.protocol === 'http:' || url.protocol === 'https:') open(url, '_blank', 'noopener,noreferrer');
}

export class Screen {
  readonly term: Terminal;
  readonly search = new SearchAddon({ highlightLimit: 2000 });
  readonly #fit = new FitAddon();
  #webgl: WebglAddon | null = null;
  #wantsGpu: boolean;
  #disposed = false;

  constructor(
    readonly element: HTMLElement,
    private options: ScreenOptions,
  ) {
    this.term = new Terminal({
      allowProposedApi: true,
      documentOverride: (sharedDocument ??= styleSafeDocument()),
      fontFamily: FONT,
      fontSize: options.fontSize,
      lineHeight: 1.15,
      theme: SCHEMES[options.scheme],
      minimumContrastRatio: options.scheme === 'contrast' ? 7 : 1,
      scrollback: options.scrollback ?? 10_000,
      cursorBlink: false,
      cursorInactiveStyle: options.readOnly ? 'none' : 'outline',
      disableStdin: options.readOnly ?? false,
      screenReaderMode: options.reader ?? false,
      macOptionIsMeta: true,
      rightClickSelectsWord: false,
      linkHandler: { activate: follow, allowNonHttpProtocols: false },
    });
    this.term.loadAddon(this.#fit);
    this.term.loadAddon(this.search);
    this.term.loadAddon(new WebLinksAddon(follow));
    this.term.loadAddon(new UnicodeGraphemesAddon());
    withSafeSheets(() => this.term.open(element));
    this.#wantsGpu = options.gpu;
    void this.#draw();
  }

  get size(): { cols: number; rows: number } {
    return { cols: this.term.cols, rows: this.term.rows };
  }

  /** As many columns and rows as there is room for. */
  fit(): void {
    if (this.#disposed || !this.element.isConnected) return;
    const wanted = this.#fit.proposeDimensions();
    if (!wanted || !Number.isFinite(wanted.cols) || !Number.isFinite(wanted.rows)) return;
    const cols = Math.max(2, wanted.cols);
    const rows = Math.max(1, wanted.rows);
    if (cols !== this.term.cols || rows !== this.term.rows) this.term.resize(cols, rows);
  }

  /** The size of type at which the session's own columns and rows fill the room. */
  fitType(largest = 16): void {
    if (this.#disposed) return;
    const inner = this.element.querySelector('.xterm-screen');
    const room = this.element.getBoundingClientRect();
    if (!inner || !room.width) return;
    const has = inner.getBoundingClientRect();
    const now = this.term.options.fontSize ?? 14;
    if (!has.width || !has.height) return;
    const next = Math.max(3, Math.min(largest, Math.floor(now * Math.min((room.width - 2) / has.width, (room.height - 2) / has.height) * 4) / 4));
    if (Math.abs(next - now) >= 0.25) this.term.options.fontSize = next;
  }

  /** Shrunk as a picture, however small: for looking only. */
  fitPicture(): void {
    const inner = this.element.querySelector<HTMLElement>('.xterm-screen');
    const whole = this.term.element;
    if (this.#disposed || !inner?.offsetWidth || !whole || !this.element.clientWidth) return;
    const scale = Math.min(1.2, this.element.clientWidth / inner.offsetWidth, this.element.clientHeight / inner.offsetHeight);
    whole.style.width = `${inner.offsetWidth}px`;
    whole.style.transformOrigin = '0 0';
    whole.style.transform = `scale(${scale})`;
  }

  restyle(change: Partial<ScreenOptions>): void {
    this.options = { ...this.options, ...change };
    const { options } = this.term;
    options.fontSize = this.options.fontSize;
    options.theme = SCHEMES[this.options.scheme];
    options.minimumContrastRatio = this.options.scheme === 'contrast' ? 7 : 1;
    options.screenReaderMode = this.options.reader ?? false;
    if (this.#wantsGpu !== this.options.gpu) {
      this.#wantsGpu = this.options.gpu;
      void this.#draw();
    }
  }

  text(): string {
    const buffer = this.term.buffer.active;
    const lines: string[] = [];
    for (let row = 0; row < buffer.length; row++) lines.push(buffer.getLine(row)?.translateToString(true) ?? '');
    return lines.join('\n');
  }

  dispose(): void {
    this.#disposed = true;
    this.term.dispose();
    this.element.replaceChildren();
  }

  // The graphics card draws where it can; without one, or when it is lost, the page's own elements do.
  async #draw(): Promise<void> {
    this.#webgl?.dispose();
    this.#webgl = null;
    if (!this.#wantsGpu) return;
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('webgl2', { failIfMajorPerformanceCaveat: true });
    if (!context) return;
    context.getExtension('WEBGL_lose_context')?.loseContext();
    const { WebglAddon } = await import('@xterm/addon-webgl');
    if (this.#disposed || !this.#wantsGpu || this.#webgl) return;
    try {
      const addon = new WebglAddon();
      addon.onContextLoss(() => {
        addon.dispose();
        if (this.#webgl === addon) this.#webgl = null;
      });
      this.term.loadAddon(addon);
      this.#webgl = addon;
      this.options.ondraw?.();
    } catch {
      this.#webgl = null;
    }
  }
}
