// How file sessions and their events are put into words.
import type { FileAction, FileEvent, FileOutcome, FileSession } from '../../lib/api/files';
import { size } from '../../lib/access/words';

export const FILE_PROTOCOLS = ['sftp', 'scp', 'rsync', 'ftp', 'smb'].map((value) => ({ value, text: value === 'rsync' ? 'rsync' : value.toUpperCase() }));

export const ACTIONS: Record<FileAction, string> = {
  browse: 'Looked into',
  download: 'Downloaded',
  upload: 'Uploaded',
  mkdir: 'Made folder',
  delete: 'Deleted',
  rename: 'Renamed',
  chmod: 'Set attributes',
  copy: 'Copied',
  truncate: 'Cut to length',
  link: 'Made link',
};
export const OUTCOMES: Record<FileOutcome, { text: string; tone: string }> = {
  ok: { text: 'Done', tone: 'text-ink-2' },
  failed: { text: 'Failed', tone: 'text-down-text' },
  denied: { text: 'Refused by policy', tone: 'text-uncertain-text' },
  interrupted: { text: 'Interrupted', tone: 'text-uncertain-text' },
};
export const actionOf = (action: string) => ACTIONS[action as FileAction] ?? action;
export const outcomeOf = (outcome: string) => OUTCOMES[outcome as FileOutcome] ?? { text: outcome, tone: '' };

/** What an event moved: bytes, entries, or what the server says. */
export function amount(event: FileEvent): string {
  if (event.entries !== null) return `${event.entries.toLocaleString('en')} ${event.entries === 1 ? 'entry' : 'entries'}`;
  if (event.size !== null) return size(event.size);
  return event.detail;
}

/** `12 ms`, `3.4 s`, `2 min 5 s` */
export function took(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export const cameWith = (session: FileSession) => (session.clientKind === 'web' ? 'The browser' : 'A native client');
