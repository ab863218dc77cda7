// A folder's listing is one JSON document, which is read while it arrives: its head first, then its entries.
import type { Capabilities, FileEntry } from '../api/files';

export interface ListHead {
  path: string;
  rawPath?: string;
  capabilities: Capabilities;
}

const ENTRIES = /,"entries"\s*:\s*\[/;

export class ListingReader {
  #text = '';
  #head = false;
  complete = false;

  constructor(
    private readonly head: (head: ListHead) => void,
    private readonly entries: (entries: FileEntry[]) => void,
  ) {}

  add(text: string): void {
    this.#text += text;
    if (!this.#head) {
      const found = ENTRIES.exec(this.#text);
      if (!found) return;
      this.head(JSON.parse(`${this.#text.slice(0, found.index)}}`) as ListHead);
      this.#head = true;
      this.#text = this.#text.slice(found.index + found[0].length);
    }
    if (this.#end()) return;
    // Entries have no objects in them: one ends where the next begins. Only a name can look like that, too; then what
    // stands before it is no JSON, and an earlier end is taken.
    for (let at = this.#text.lastIndexOf('},{'); at >= 0; at = at > 0 ? this.#text.lastIndexOf('},{', at - 1) : -1) {
      const some = parsed(this.#text.slice(0, at + 1));
      if (!some) continue;
      this.#text = this.#text.slice(at + 2);
      this.entries(some);
      return;
    }
  }

  #end(): boolean {
    const rest = this.#text.trimEnd();
    if (!rest.endsWith(']}')) return false;
    const some = parsed(rest.slice(0, -2));
    if (!some) return false;
    this.complete = true;
    this.#text = '';
    if (some.length) this.entries(some);
    return true;
  }
}

function parsed(text: string): FileEntry[] | null {
  try {
    return JSON.parse(`[${text}]`) as FileEntry[];
  } catch {
    return null;
  }
}
