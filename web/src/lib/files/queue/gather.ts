// What was dropped or chosen: files with their places, and a way to read each of them later.
import type { Wanted } from './upload.svelte';

export interface Gathered {
  files: Wanted[];
  /** Folders without files in them. */
  empty: string[];
  /** What could not be read. */
  faults: string[];
}

/** What a reload can get a file back with: a handle of the browser (asks again for the right to read), or the file itself
 *  while it is small. */
export type Keepable = { handle: FileSystemHandle; parts: string[] } | { file: File };
const STASH = 4 * 1024 * 1024;
const STASH_ALL = 64 * 1024 * 1024;

class Gatherer {
  readonly out: Gathered = { files: [], empty: [], faults: [] };
  #stashed = 0;

  add(rel: string, file: File, handle: FileSystemHandle | null, parts: string[]): void {
    let keep: Keepable | undefined;
    if (file.size <= STASH && this.#stashed + file.size <= STASH_ALL) {
      this.#stashed += file.size;
      keep = { file };
    } else if (handle) keep = { handle, parts };
    this.out.files.push({ rel, size: file.size, modified: file.lastModified, source: { file: async () => file }, ...(keep ? { keep } : {}) });
  }

  async entry(entry: FileSystemEntry, rel: string, handle: FileSystemHandle | null, parts: string[]): Promise<void> {
    try {
      if (entry.isFile) {
        const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
        return this.add(rel, file, handle, parts);
      }
      const reader = (entry as FileSystemDirectoryEntry).createReader();
      let any = false;
      for (;;) {
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        any = true;
        for (const one of some) await this.entry(one, `${rel}/${one.name}`, handle, [...parts, one.name]);
      }
      if (!any) this.out.empty.push(rel);
    } catch {
      this.out.faults.push(rel);
    }
  }
}

/** Must be called while the drop is being handled: later its contents are gone. */
export function gather(data: DataTransfer): Promise<Gathered> {
  const gatherer = new Gatherer();
  const items = [...data.items].filter((item) => item.kind === 'file');
  const roots = items.map((item) => ({
    entry: item.webkitGetAsEntry?.() ?? null,
    file: item.getAsFile(),
    handle: (item as DataTransferItem & { getAsFileSystemHandle?: () => Promise<FileSystemHandle | null> }).getAsFileSystemHandle?.().catch(() => null) ?? Promise.resolve(null),
  }));
  return (async () => {
    for (const { entry, file, handle } of roots) {
      const kept = await handle;
      if (entry) await gatherer.entry(entry, entry.name, kept, []);
      else if (file) gatherer.add(file.name, file, kept, []);
    }
    return gatherer.out;
  })();
}

/** Files of an `<input type=file>`, with or without `webkitdirectory`. */
export function chosen(files: FileList): Gathered {
  const gatherer = new Gatherer();
  for (const file of files) gatherer.add(file.webkitRelativePath || file.name, file, null, []);
  return gatherer.out;
}

type Picker = { showOpenFilePicker?: (options: { multiple: boolean }) => Promise<FileSystemFileHandle[]> };
/** Asks for files in the way that survives a reload, where the browser has one; null where it has not. */
export async function pick(): Promise<Gathered | null> {
  const { showOpenFilePicker } = window as unknown as Picker;
  if (!showOpenFilePicker) return null;
  const gatherer = new Gatherer();
  try {
    for (const handle of await showOpenFilePicker({ multiple: true })) gatherer.add(handle.name, await handle.getFile(), handle, []);
  } catch (error) {
    if (!(error instanceof DOMException && error.name === 'AbortError')) return null;
  }
  return gatherer.out;
}

/** The file that was kept; asks for the right to read it when a person has just clicked. */
export async function recover(keep: Keepable, ask: boolean): Promise<File | null> {
  if ('file' in keep) return keep.file;
  type Permitted = FileSystemHandle & { queryPermission?: (of: { mode: 'read' }) => Promise<string>; requestPermission?: (of: { mode: 'read' }) => Promise<string> };
  const permitted = keep.handle as Permitted;
  try {
    let right = (await permitted.queryPermission?.({ mode: 'read' })) ?? 'granted';
    if (right !== 'granted' && ask) right = (await permitted.requestPermission?.({ mode: 'read' })) ?? 'denied';
    if (right !== 'granted') return null;
    let at: FileSystemHandle = keep.handle;
    for (const [i, part] of keep.parts.entries()) {
      const folder = at as FileSystemDirectoryHandle;
      at = i === keep.parts.length - 1 ? await folder.getFileHandle(part) : await folder.getDirectoryHandle(part);
    }
    return await (at as FileSystemFileHandle).getFile();
  } catch {
    return null;
  }
}
