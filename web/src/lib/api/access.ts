// The shapes of connections and access sessions in the HTTP API. Times are RFC 3339 UTC.
import type { FilePolicy } from './files';
import type { Page } from './types';

export type Protocol = 'ssh' | 'telnet' | 'sftp' | 'ftp' | 'smb' | 'rdp' | 'vnc';
export type AuthKind = 'password' | 'key' | 'prompt' | 'agent' | 'none';
export type RecordPolicy = 'mandatory' | 'best_effort' | 'off';

export interface DesktopPolicy {
  viewOnly: boolean;
  allowCopy: boolean;
  allowPaste: boolean;
}

export interface ConnectionPolicy {
  record: RecordPolicy;
  recordInput: boolean;
  recordExecOutput: boolean;
  allowForwarding: boolean;
  allowAgent: boolean;
  allowFiles: boolean;
  files: FilePolicy;
  desktop: DesktopPolicy;
  tellWatched: boolean;
  idleLimitSeconds: number | null;
  timeLimitSeconds: number | null;
}

export interface Grant {
  kind: 'user' | 'role';
  id: string;
  name: string;
}

/** `tls` is for ftp, `share` (empty: all) and `domain` for smb; `root` is the folder where files begin. */
export interface ConnectionOptions {
  tls?: 'none' | 'explicit' | 'implicit';
  share?: string;
  domain?: string;
  root?: string;
}

/** Host, port and user name are null for those who may only use it; `grants` is for those who may edit. */
export interface Connection {
  id: string;
  name: string;
  protocol: Protocol;
  host: string | null;
  port: number | null;
  username: string | null;
  auth: AuthKind;
  hasSecret: boolean;
  hostKey: { fingerprint: string; algorithm?: string | null; pinnedAt: string | null; pinnedBy: string | null } | null;
  ownerId: string | null;
  ownerName: string | null;
  folder: string;
  tags: string[];
  notes: string;
  policy: ConnectionPolicy;
  options?: ConnectionOptions | null;
  grants?: Grant[] | null;
  may: { use: boolean; edit: boolean; delete: boolean; share: boolean };
  lastUsedAt: string | null;
  liveSessions: number;
  createdAt: string;
  updatedAt: string;
}

export interface ConnectionPage extends Page {
  connections: Connection[];
  folders: string[];
  tags: string[];
}

export interface ConnectionTest {
  ok: boolean;
  message: string;
  reached: boolean;
  latencyMs: number | null;
  hostKey: { algorithm: string; fingerprint: string } | null;
  pinned: 'match' | 'new' | 'changed' | 'none';
  login: 'ok' | 'refused' | 'not_tried';
}

export type RecordingState = 'none' | 'live' | 'sealed' | 'incomplete';
export type EndReason =
  | 'closed'
  | 'client_lost'
  | 'target_lost'
  | 'unreachable'
  | 'login_refused'
  | 'host_key'
  | 'denied'
  | 'terminated'
  | 'revoked'
  | 'idle'
  | 'time_limit'
  | 'recording_failed'
  | 'server_stopped'
  | 'server_died'
  | 'failed';

export interface AccessSession {
  id: string;
  userId: string;
  protocol: Protocol;
  startedAt: string;
  endedAt: string | null;
  hasRecording: boolean;
  fileSize: number;
  connectionName: string;
  username: string;
  live: boolean;
  connectionId: string;
  clientAddress: string;
  clientKind: 'native' | 'web';
  purpose: 'shell' | 'exec' | 'subsystem' | 'forward' | 'desktop';
  command: string | null;
  recording: RecordingState;
  /** `client-supplied`: the user's own client made the recording. */
  recordingSource: string | null;
  commandCount: number;
  endReason: EndReason | null;
  endDetail: string | null;
  exitStatus: number | null;
  exitSignal: string | null;
  bytesIn: number;
  bytesOut: number;
  sha256In: string | null;
  sha256Out: string | null;
  target: string | null;
  legalHold: boolean;
  node: string;
  viewers: Viewer[];
}

/** What was done with mouse and keyboard on a desktop. */
export interface InputEvent {
  /** Milliseconds since the session's start. */
  elapsed: number;
  /** `click`, `key`, `move`, `scroll`. */
  event_type: string;
  /** Which key, as `KeyboardEvent.key` names it, where the connection's policy asks for it. */
  key?: string;
}

export interface SessionPage extends Page {
  sessions: AccessSession[];
}

export interface Viewer {
  name: string;
  mode: 'watch' | 'join';
}

export interface LiveSession extends AccessSession {
  cols: number | null;
  rows: number | null;
  idleMs: number | null;
}

export interface Command {
  id: string;
  timestamp: string;
  /** Milliseconds since the session's start. */
  elapsed: number;
  command: string;
  output_preview: string;
  source: 'exec' | 'osc133' | 'screen';
  confidence: 'exact' | 'inferred';
  kind: 'shell' | 'repl' | 'stdin' | 'password';
  exitCode: number | null;
  until: number | null;
}

export interface Verification {
  status: 'sealed' | 'incomplete' | 'live' | 'altered' | 'none';
  ok: boolean;
  message: string;
  checkedAt: string;
  frames: number;
  segments: number;
  bytes: number;
  gaps: { fromMs: number; toMs: number | null; reason: string; message: string }[];
  /** Everything that is not as it was recorded. */
  faults: string[];
  publicKey: string;
  head: string | null;
}

export interface Storage {
  bytes: number;
  breakdown: { sealed: number; incomplete: number; live: number; spool: number };
  recordings: number;
  free: number;
  pressure: string;
}

export interface NodeInfo {
  id: string;
  name: string;
  url: string | null;
  startedAt: string;
  seenAt: string;
  state: 'running' | 'stopped' | 'dead';
  liveSessions: number;
}

export interface PublicKey {
  id: string;
  label: string;
  fingerprint: string;
  createdAt: string;
  lastUsedAt: string | null;
}
