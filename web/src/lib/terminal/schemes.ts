// The colours of terminals. Every one of the sixteen is readable on its ground, and white is not white on white.
import type { ITheme } from '@xterm/xterm';

export const SCHEMES: Record<'dark' | 'light' | 'contrast', ITheme> = {
  dark: {
    background: '#101014', foreground: '#e4e4ea', cursor: '#a8a2f8', cursorAccent: '#101014', selectionBackground: '#4a45a888',
    black: '#2a2a33', red: '#ff7a6b', green: '#5fd38d', yellow: '#f0b84a', blue: '#6cb6ef', magenta: '#c99bf5', cyan: '#5fd0cf', white: '#d4d4dc',
    brightBlack: '#8a8a99', brightRed: '#ffa195', brightGreen: '#8be6ae', brightYellow: '#ffd587', brightBlue: '#9bd0ff', brightMagenta: '#dfc0ff', brightCyan: '#93e6e5', brightWhite: '#ffffff',
  },
  light: {
    background: '#ffffff', foreground: '#1c1c22', cursor: '#4f46c8', cursorAccent: '#ffffff', selectionBackground: '#4f46c844',
    black: '#1c1c22', red: '#b3261a', green: '#0b6e3a', yellow: '#7d5200', blue: '#0b5ea8', magenta: '#7d2fa8', cyan: '#0a6a72', white: '#6b6b78',
    brightBlack: '#565662', brightRed: '#c93c2e', brightGreen: '#177a45', brightYellow: '#8a5d05', brightBlue: '#1d6fc0', brightMagenta: '#9040bd', brightCyan: '#12757d', brightWhite: '#3c3c46',
  },
  contrast: {
    background: '#000000', foreground: '#ffffff', cursor: '#ffff00', cursorAccent: '#000000', selectionBackground: '#ffffff', selectionForeground: '#000000',
    black: '#000000', red: '#ff8080', green: '#80ff80', yellow: '#ffff60', blue: '#a0c8ff', magenta: '#ffa0ff', cyan: '#80ffff', white: '#ffffff',
    brightBlack: '#c0c0c0', brightRed: '#ffb0b0', brightGreen: '#b0ffb0', brightYellow: '#ffffa0', brightBlue: '#c8e0ff', brightMagenta: '#ffc8ff', brightCyan: '#b0ffff', brightWhite: '#ffffff',
  },
};
