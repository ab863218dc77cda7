// Keys and chords that a browser or its system keeps to itself. Keysyms are X's (keysymdef.h).
export interface Chord {
  text: string;
  /** Pressed in this order, let go in the other. */
  keys: { sym: number; code: string }[];
}

const CTRL = { sym: 0xffe3, code: 'ControlLeft' };
const ALT = { sym: 0xffe9, code: 'AltLeft' };
const SUPER = { sym: 0xffeb, code: 'MetaLeft' };
const TAB = { sym: 0xff09, code: 'Tab' };
const ESCAPE = { sym: 0xff1b, code: 'Escape' };
const f = (number: number) => ({ sym: 0xffbd + number, code: `F${number}` });

export const CHORDS: Chord[] = [
  { text: 'Ctrl-Alt-Del', keys: [CTRL, ALT, { sym: 0xffff, code: 'Delete' }] },
  { text: 'Ctrl-Alt-Backspace', keys: [CTRL, ALT, { sym: 0xff08, code: 'Backspace' }] },
  { text: 'Alt-Tab', keys: [ALT, TAB] },
  { text: 'Alt-F4', keys: [ALT, f(4)] },
  { text: 'Ctrl-Shift-Esc', keys: [CTRL, { sym: 0xffe1, code: 'ShiftLeft' }, ESCAPE] },
  { text: 'Super', keys: [SUPER] },
  { text: 'Super-L', keys: [SUPER, { sym: 0x6c, code: 'KeyL' }] },
  { text: 'Ctrl-Alt-F1', keys: [CTRL, ALT, f(1)] },
  { text: 'Ctrl-Alt-F7', keys: [CTRL, ALT, f(7)] },
  { text: 'Escape', keys: [ESCAPE] },
  { text: 'Tab', keys: [TAB] },
  { text: 'F11', keys: [f(11)] },
  { text: 'Print Screen', keys: [{ sym: 0xff61, code: 'PrintScreen' }] },
];

/** Presses and lets go. */
export function play(chord: Chord, send: (sym: number, code: string, down: boolean) => void): void {
  for (const key of chord.keys) send(key.sym, key.code, true);
  for (const key of [...chord.keys].reverse()) send(key.sym, key.code, false);
}
