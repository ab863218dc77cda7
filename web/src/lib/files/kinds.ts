// What a file is by its name, for its icon and for what opens it.

const words = (text: string) => new Set(text.split(' '));
const IMAGES = words('png jpg jpeg gif webp avif bmp');
const ARCHIVES = words('zip gz tgz bz2 xz zst tar 7z rar deb rpm iso jar');
const CODE = words('json yaml yml toml xml html htm css js mjs ts tsx jsx svelte vue rs go py rb php pl sh bash zsh fish c h cc cpp hpp java kt swift sql diff patch');
const TEXT = words('txt text log md markdown csv tsv ini conf cfg env properties tex rst service timer socket nfo srt vtt');
/** Files without an ending that are text on most systems. */
const NAMED = words('readme license makefile dockerfile hosts passwd group fstab crontab authorized_keys known_hosts config');

export function kindOf(name: string): 'image' | 'text' | 'code' | 'archive' | 'other' {
  const lower = name.toLowerCase();
  const dot = lower.lastIndexOf('.');
  const ending = dot >= 0 ? lower.slice(dot + 1) : '';
  if (IMAGES.has(ending)) return 'image';
  if (ARCHIVES.has(ending)) return 'archive';
  if (CODE.has(ending)) return 'code';
  if (TEXT.has(ending) || NAMED.has(lower) || (dot === 0 && !lower.slice(1).includes('.'))) return 'text';
  return 'other';
}

/** `image/…` and text are shown in the page; the rest is downloaded. */
export const previewOf = (name: string): 'image' | 'text' | null => {
  const kind = kindOf(name);
  return kind === 'image' ? 'image' : kind === 'text' || kind === 'code' ? 'text' : null;
};

/** Text is edited up to this. */
export const EDIT_LIMIT = 1024 * 1024;
/** So much of a longer one is shown. */
export const PREVIEW_LIMIT = 256 * 1024;
export const IMAGE_LIMIT = 40 * 1000 * 1000;

/** The bytes as text, if they are text: UTF-8 without NUL. A character that was cut at the end does not count. */
export function asText(bytes: Uint8Array, cut: boolean): string | null {
  for (let drop = 0; drop < (cut ? 4 : 1); drop++) {
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(drop ? bytes.subarray(0, bytes.length - drop) : bytes);
      return text.includes('\0') ? null : text;
    } catch {
      // Perhaps only the last character is incomplete.
    }
  }
  return null;
}
