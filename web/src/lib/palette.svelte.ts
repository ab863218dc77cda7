// Whether the finder is open; its code is loaded when it first is.

class PaletteState {
  open = $state(false);
}

export const palette = new PaletteState();
