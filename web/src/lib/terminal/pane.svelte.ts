// One terminal: its link to the server and its screen. It lives on while other pages are shown; its element is
// hung into whatever pane shows it.
import type { Viewer } from '../api/access';
import { prefs } from './prefs.svelte';
import { TerminalLink, type Ending, type LinkState, type Mode, type Prompt } from './link';
import { deservesQuestion, harmless } from './paste';
import type { Screen } from './screen';

export interface Target {
  /** A connection (`conn_…`) to open, or a session (`sess_…`) to attach to, watch or join. */
  id: string;
  name: string;
  /** The target's password is asked for before it is opened. */
  asks?: boolean;
}

export type PaneState = 'asking' | 'loading' | LinkState;

const encoder = new TextEncoder();
const PARK_MS = 400;

/** Where a terminal waits that no page shows: laid out, so that it can be measured and attached, and seen by nobody. */
function parking(): HTMLElement {
  const id = 'terminal-parking';
  const found = document.getElementById(id);
  if (found) return found;
  const made = document.createElement('div');
  made.id = id;
  made.inert = true;
  made.className = 'pointer-events-none invisible fixed -left-[3000px] top-0 h-[480px] w-[800px] overflow-hidden';
  document.body.append(made);
  return made;
}

export class Pane {
  state = $state<PaneState>('loading');
  sessionId = $state<string | null>(null);
  name = $state('');
  /** What the program in it calls the window. */
  title = $state('');
  recorded = $state(false);
  viewers = $state.raw<Viewer[]>([]);
  notice = $state<string | null>(null);
  prompt = $state.raw<Prompt | null>(null);
  ending = $state.raw<Ending | null>(null);
  size = $state.raw({ cols: 80, rows: 24 });
  /** What waits for a yes before it is pasted. */
  pasting = $state<string | null>(null);
  failure = $state<string | null>(null);
  ctrl = $state(false);
  alt = $state(false);
  finding = $state(false);
  secondsLeft = $state(0);
  bell = $state(0);

  readonly element: HTMLDivElement = document.createElement('div');
  screen: Screen | null = null;
  #link: TerminalLink | null = null;
  #stopped = false;
  #wantsFocus = false;
  #password: string | undefined;
  #countdown: ReturnType<typeof setInterval> | undefined;
  /** Told when something changed that outlives a reload. */
  onchange: () => void = () => {};
  onclosed: () => void = () => {};

  constructor(
    readonly id: string,
    public target: Target,
    public mode: Mode = 'open',
    private readonly look: { scrollback?: number; picture?: boolean } = {},
  ) {
    this.name = target.name;
    this.element.className = 'h-full w-full';
    if (mode !== 'open') this.sessionId = target.id;
    if (mode === 'open' && target.asks) this.state = 'asking';
    else void this.#start();
  }

  get own(): boolean {
    return this.mode === 'open' || this.mode === 'attach';
  }
  get #gpu(): boolean {
    return prefs.gpu && !this.look.picture;
  }
  get label(): string {
    return this.title || this.name;
  }

  /** The password that `asks` asked for. */
  enter(password: string): void {
    this.#password = password;
    void this.#start();
  }

  /** After it ended: a new session over the same connection. */
  again(): void {
    if (!this.target.id.startsWith('conn_')) return;
    this.#link?.leave();
    this.#link = null;
    this.mode = 'open';
    this.sessionId = null;
    this.ending = null;
    this.failure = null;
    this.notice = null;
    this.viewers = [];
    this.title = '';
    this.screen?.term.reset();
    if (this.target.asks) this.state = 'asking';
    else void this.#start();
    this.onchange();
  }

  retryNow(): void {
    this.#link?.retry();
  }

  answer(text: string): void {
    this.prompt = null;
    this.#link?.answer(text);
    this.focus();
  }

  type(text: string): void {
    if (text) this.#link?.input(encoder.encode(text));
  }

  /** A key of the key bar, with the sticky Ctrl and Alt. */
  key(sequence: string): void {
    this.type(this.#modified(sequence));
    this.focus();
  }

  paste(text: string): void {
    const safe = harmless(text);
    if (!safe || !this.#link?.reads) return;
    if (deservesQuestion(safe, this.screen?.term.modes.bracketedPasteMode ?? false)) this.pasting = safe;
    else this.#paste(safe);
  }
  pasteAnyway(): void {
    if (this.pasting !== null) this.#paste(this.pasting);
    this.pasting = null;
    this.focus();
  }
  #paste(text: string): void {
    this.screen?.term.paste(text);
    this.screen?.term.scrollToBottom();
  }

  selection(): string {
    return this.screen?.term.getSelection() ?? '';
  }

  focus(): void {
    this.#wantsFocus = true;
    this.screen?.term.focus();
  }

  /** There is other room for it than before. */
  fit(): void {
    if (!this.screen) return;
    if (this.look.picture) this.screen.fitPicture();
    else if (this.own) this.screen.fit();
    else this.screen.fitType();
  }

  restyle(): void {
    this.screen?.restyle({ ...(this.own ? { fontSize: prefs.fontSize } : {}), scheme: prefs.scheme, gpu: this.#gpu, reader: prefs.reader });
    requestAnimationFrame(() => this.fit());
  }

  /** Ends it, and takes it off the page. */
  close(): void {
    this.#stopped = true;
    clearInterval(this.#countdown);
    this.#link?.close();
    this.screen?.dispose();
    this.screen = null;
  }

  /** Takes it off the page; the session waits for its grace period. */
  leave(): void {
    this.#stopped = true;
    clearInterval(this.#countdown);
    this.#link?.leave();
    this.screen?.dispose();
    this.screen = null;
  }

  #modified(text: string): string {
    let out = text;
    if (this.ctrl) {
      out = /^[a-z@[\\\]^_ ?]$/i.test(text) ? String.fromCharCode(text === '?' ? 127 : text.toUpperCase().charCodeAt(0) & 31) : text.replace(/^\x1b\[([ABCDHF])$/, '\x1b[1;5$1');
      this.ctrl = false;
    }
    if (this.alt) {
      out = `\x1b${out}`;
      this.alt = false;
    }
    return out;
  }

  async #start(): Promise<void> {
    this.state = 'loading';
    if (!this.screen) {
      const { Screen } = await import('./screen');
      if (this.#stopped) return;
      // Its measures can only be taken on the page.
      await this.#shown();
      if (this.#stopped) return;
      this.screen = new Screen(this.element, { fontSize: this.own ? prefs.fontSize : 13, scheme: prefs.scheme, gpu: this.#gpu, reader: prefs.reader, readOnly: this.mode === 'watch', scrollback: this.look.scrollback ?? 10_000, ondraw: () => this.fit() });
      this.#wire(this.screen);
      if (this.#wantsFocus) this.focus();
    }
    this.fit();
    this.#connect();
  }

  #shown(): Promise<void> {
    if (this.element.isConnected && this.element.clientWidth > 0) return Promise.resolve();
    return new Promise((resolve) => {
      const park = setTimeout(() => this.element.isConnected || parking().append(this.element), PARK_MS);
      const observer = new ResizeObserver(() => {
        if (!this.element.isConnected || this.element.clientWidth === 0) return;
        observer.disconnect();
        clearTimeout(park);
        resolve();
      });
      observer.observe(this.element);
    });
  }

  #wire(screen: Screen): void {
    const { term } = screen;
    this.size = screen.size;
    term.onData((text) => this.type(this.#modified(text)));
    term.onBinary((text) => this.#link?.input(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    term.onResize((size) => {
      this.size = size;
      if (this.own) this.#link?.resize(size);
    });
    term.onTitleChange((title) => (this.title = title.slice(0, 120)));
    term.onBell(() => (this.bell += 1));
    term.attachCustomKeyEventHandler((event) => this.#shortcut(event));
    // Every way of pasting goes through one gate.
    this.element.addEventListener(
      'paste',
      (event) => {
        const text = event.clipboardData?.getData('text/plain');
        event.preventDefault();
        event.stopPropagation();
        if (text) this.paste(text);
      },
      true,
    );
  }

  #shortcut(event: KeyboardEvent): boolean {
    if (event.type !== 'keydown') return true;
    const key = event.key.toLowerCase();
    const main = event.ctrlKey && event.shiftKey && !event.altKey;
    if ((main || event.metaKey) && key === 'c') {
      if (!this.selection() && event.metaKey) return true;
      event.preventDefault();
      void this.copy();
      return false;
    }
    // The browser's own paste follows, and brings the text without asking for a permission.
    if ((main || event.metaKey) && key === 'v') return false;
    if ((main || event.metaKey) && key === 'f') {
      event.preventDefault();
      this.finding = true;
      return false;
    }
    if (event.ctrlKey && !event.shiftKey && !event.altKey && key === 'k' && event.metaKey) return false;
    if (event.ctrlKey && !event.altKey && (event.key === '=' || event.key === '+' || event.key === '-' || event.key === '0') && event.shiftKey === (event.key === '+')) {
      event.preventDefault();
      prefs.grow(event.key === '-' ? -1 : event.key === '0' ? 0 : 1);
      return false;
    }
    return true;
  }

  async copy(): Promise<boolean> {
    const text = this.selection();
    if (!text) return false;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      document.execCommand('copy');
    }
    return true;
  }

  #connect(): void {
    const screen = this.screen;
    if (!screen) return;
    this.state = 'connecting';
    const target = this.mode === 'open' ? this.target.id : (this.sessionId ?? this.target.id);
    const password = this.#password;
    this.#password = undefined;
    this.#link = new TerminalLink(
      this.mode,
      target,
      {
        state: (state) => {
          this.state = state;
          clearInterval(this.#countdown);
          if (state === 'lost') {
            const count = () => (this.secondsLeft = this.#link?.secondsLeft ?? 0);
            count();
            this.#countdown = setInterval(count, 1000);
          }
          if (state === 'connected') this.#link?.resize(screen.size);
        },
        session: (id, name, recorded) => {
          this.sessionId = id;
          if (name) this.name = name;
          this.recorded = recorded;
          this.prompt = null;
          this.onchange();
        },
        output: (bytes, done) => screen.term.write(bytes, done),
        snapshot: (cols, rows, data) => {
          screen.term.reset();
          if (!this.own) screen.term.resize(cols, rows);
          screen.term.write(data, () => this.fit());
        },
        resize: (cols, rows) => {
          if (this.own) return;
          screen.term.resize(cols, rows);
          requestAnimationFrame(() => this.fit());
        },
        prompt: (prompt) => (this.prompt = prompt),
        notice: (text) => (this.notice = text),
        viewers: (viewers) => (this.viewers = viewers),
        ended: (ending) => {
          this.ending = ending;
          this.prompt = null;
          this.onchange();
          if (this.own && ending.reason === 'closed' && (ending.exitStatus ?? 0) === 0) this.onclosed();
        },
      },
      { size: screen.size, ...(password !== undefined ? { password } : {}) },
    );
  }
}
