// How this browser shows terminals: size of type, colours, and what draws them.
import { theme } from '../theme.svelte';

export type Colours = 'page' | 'dark' | 'light' | 'contrast';
const KEY = 'sojourn.terminal';
export const COLOURS: { value: Colours; text: string }[] = [
  { value: 'page', text: 'As the page' },
  { value: 'dark', text: 'Dark' },
  { value: 'light', text: 'Light' },
  { value: 'contrast', text: 'High contrast' },
];
const MIN = 8;
const MAX = 28;

interface Stored {
  fontSize: number;
  colours: Colours;
  gpu: boolean;
  reader: boolean;
}

function stored(): Stored {
  const usual: Stored = { fontSize: 14, colours: 'page', gpu: true, reader: false };
  try {
    const read = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Stored>;
    return {
      fontSize: Math.min(MAX, Math.max(MIN, Number(read.fontSize) || usual.fontSize)),
      colours: COLOURS.some((known) => known.value === read.colours) ? read.colours! : usual.colours,
      gpu: read.gpu !== false,
      reader: read.reader === true,
    };
  } catch {
    return usual;
  }
}

class TerminalPrefs {
  #now = $state(stored());

  get fontSize(): number {
    return this.#now.fontSize;
  }
  get colours(): Colours {
    return this.#now.colours;
  }
  get gpu(): boolean {
    return this.#now.gpu;
  }
  /** Screen readers are told what appears. */
  get reader(): boolean {
    return this.#now.reader;
  }
  /** The colours that apply, the page's own resolved. */
  get scheme(): 'dark' | 'light' | 'contrast' {
    return this.colours === 'page' ? (theme.dark ? 'dark' : 'light') : this.colours;
  }

  set(change: Partial<Stored>): void {
    this.#now = { ...this.#now, ...change };
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#now));
    } catch {
      // Storage may be refused: the choice lasts for this page.
    }
  }
  grow(by: number): void {
    this.set({ fontSize: by === 0 ? 14 : Math.min(MAX, Math.max(MIN, this.fontSize + by)) });
  }
}

export const prefs = new TerminalPrefs();
