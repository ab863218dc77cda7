// The shapes of files on targets and of file sessions in the HTTP API. Times are RFC 3339 UTC.
import type { EndReason } from './access';
import type { Page } from './types';

export type EntryKind = 'file' | 'folder' | 'link' | 'other';

/** `name` and `path` are for people; `rawPath` has the bytes, percent-encoded, where they are not the path's text. */
export interface FileEntry {
  name: string;
  path: string;
  kind: EntryKind;
  size: number | null;
  modified: string | null;
  permissions: string | null;
  owner: string | null;
  group: string | null;
  linkTarget: string | null;
  rawPath?: string;
}

export interface Capabilities {
  copy: boolean;
  renameOver: boolean;
  links: boolean;
  permissions: boolean;
  times: boolean;
  resumeUpload: boolean;
  readOnly: boolean;
  noDelete: boolean;
  maxUploadBytes: number | null;
  maxDownloadBytes: number | null;
}

export interface FileStat extends FileEntry {
  etag: string;
  capabilities: Capabilities;
}

export interface Written {
  size: number;
  sha256: string | null;
  etag: string | null;
}

export interface UploadState {
  id: string;
  path: string;
  size: number;
  offset: number;
}

/** A line about how far something has come; the last one has `finished`. */
export interface ProgressLine {
  path?: string;
  done: number;
  failed: number;
  bytes: number;
  size?: number;
  error?: string;
  code?: string;
  finished?: boolean;
}

/** A path in a request: percent-encoded bytes. */
export interface RawPath {
  raw: string;
}

export interface FilePolicy {
  readOnly: boolean;
  noDelete: boolean;
  maxUploadBytes: number | null;
  maxDownloadBytes: number | null;
  allow: string[];
  deny: string[];
}

export type FileProtocol = 'sftp' | 'scp' | 'rsync' | 'ftp' | 'smb';
export type FileAction = 'browse' | 'download' | 'upload' | 'mkdir' | 'delete' | 'rename' | 'chmod' | 'copy' | 'truncate' | 'link';
export type FileOutcome = 'ok' | 'failed' | 'denied' | 'interrupted';

export interface FileSession {
  id: string;
  userId: string;
  username: string;
  protocol: FileProtocol;
  startedAt: string;
  endedAt: string | null;
  connectionId: string;
  connectionName: string;
  eventCount: number;
  live: boolean;
  clientAddress: string;
  clientKind: 'native' | 'web';
  target: string | null;
  endReason: EndReason | null;
  endDetail: string | null;
  accessSessionId: string | null;
  bytesUp: number;
  bytesDown: number;
  failedCount: number;
  legalHold: boolean;
  node: string;
}

export interface FileSessionPage extends Page {
  sessions: FileSession[];
}

export interface FileEvent {
  id: string;
  timestamp: string;
  action: FileAction;
  path: string;
  detail: string;
  newPath: string | null;
  size: number | null;
  sha256: string | null;
  outcome: FileOutcome;
  error: string | null;
  durationMs: number;
  offset: number;
  entries: number | null;
}

/** Without page and limit there are no numbers. */
export interface FileEventPage {
  events: FileEvent[];
  page: number | null;
  limit: number | null;
  total: number | null;
}
