// The shapes of the HTTP API, as openapi.json has them. Times are RFC 3339 UTC unless said otherwise.

export type Permission = string;

export interface User {
  id: string;
  name: string;
  displayName?: string | null;
  role: string;
}

export interface AuthState {
  setupRequired: boolean;
  user: User | null;
  permissions: Permission[];
  timezone: string;
  version: string;
}

export interface Login {
  id: string;
  createdAt: string;
  lastSeenAt: string;
  clientAddress: string | null;
  userAgent: string | null;
  current: boolean;
}

export interface Account extends User {
  disabled: boolean;
  createdAt: string;
  lastLoginAt: string | null;
  tokenCount: number;
}

export interface Role {
  name: string;
  description: string;
  builtin: boolean;
  permissions: Permission[];
  userCount: number;
}

export interface Token {
  id: string;
  label: string;
  userId: string;
  userName: string;
  permissions: Permission[] | null;
  createdAt: string;
  expiresAt: string | null;
  lastUsedAt: string | null;
  revokedAt: string | null;
}

export interface AuditEntry {
  seq: number;
  at: string;
  actor: { id: string | null; name: string | null; kind: 'user' | 'token' | 'system' | 'anonymous' | 'cli' };
  action: string;
  object: string | null;
  outcome: 'done' | 'refused' | 'failed';
  detail: Record<string, unknown> | null;
  clientAddress: string | null;
  hash: string;
}

export type DeviceState = 'online' | 'sleeping' | 'unknown' | 'down' | 'offline';

export interface DeviceAddress {
  ip: string;
  family: 4 | 6;
  firstSeen: string;
  lastSeen: string;
}

/** What nobody gave or nothing told is empty text. */
export interface Device {
  mac: string;
  name: string;
  displayName: string;
  owner: string;
  type: string;
  notes: string;
  vendor: string;
  hostname: string;
  randomised: boolean;
  isNew: boolean;
  state: DeviceState;
  since: string | null;
  firstSeen: string | null;
  lastSeen: string | null;
  ip: string | null;
  addresses: DeviceAddress[];
  graceSeconds: number | null;
  alertDown: boolean;
  maySleep: boolean;
  archived: boolean;
  sources: { id: string; name: string; kind: SourceKind; lastSeen: string | null }[];
}

/** What is left out stays as it is; empty text takes away. */
export interface DeviceChange {
  name?: string;
  owner?: string;
  type?: string;
  notes?: string;
  graceSeconds?: number | null;
  alertDown?: boolean;
  maySleep?: boolean;
  archived?: boolean;
  isNew?: boolean;
}

export type StateCounts = Record<DeviceState | 'all', number>;
/** `all` holds the archived too; nothing else does. */
export type DeviceCounts = StateCounts & { archived: number; new: number };

export interface Page {
  page: number;
  limit: number;
  total: number;
}

export type EventType =
  | 'New Device'
  | 'Connected'
  | 'Disconnected'
  | 'Device Down'
  | 'Down Reconnected'
  | 'IP Changed'
  | '<missing event>'
  | 'VOIDED - Connected'
  | 'VOIDED - Disconnected';

export interface PresenceEvent {
  id: number;
  at: string;
  recordedAt: string;
  type: EventType;
  mac: string;
  name: string;
  ip: string | null;
  info: string;
  certain: boolean;
}

export type GapReason = 'failed' | 'blind' | 'not_running';

export interface Gap {
  sourceId: string;
  sourceName: string;
  from: string;
  until: string | null;
  reason: GapReason;
  message: string;
}

export interface DeviceTimeline {
  mac: string;
  from: string;
  to: string;
  intervals: {
    start: string;
    end: string | null;
    open: boolean;
    startKnown: boolean;
    endKnown: boolean;
    manual: boolean;
    ip: string | null;
  }[];
  gaps: Gap[];
  events: PresenceEvent[];
}

export interface HistoryPoint extends StateCounts {
  at: string;
}

/** Start and end in ms since the epoch; flags: 1 open, 2 start missing, 4 end missing, 8 entered by hand. */
export type PackedInterval = [number, number, number];

export interface PresenceTimeline extends Page {
  from: string;
  to: string;
  devices: { mac: string; name: string; state: DeviceState; intervals: PackedInterval[] }[];
  gaps: Gap[];
}

export type SourceKind = 'arp' | 'neighbors' | 'passive' | 'dhcp-leases' | 'import' | 'push';
export type SourceStatus = 'ok' | 'failed' | 'blind' | 'waiting' | 'stopped';

export interface SourceSettings {
  interface?: string | null;
  cidr?: string | null;
  path?: string | null;
  format?: string | null;
  nudge?: string | null;
}

export interface Source {
  id: string;
  name: string;
  kind: SourceKind;
  enabled: boolean;
  automatic: boolean;
  settings: SourceSettings;
  intervalSeconds: number;
  graceSeconds: number;
  scope: string;
  health: { status: SourceStatus; since: string | null; message: string };
  lastScan: {
    startedAt: string;
    finishedAt: string | null;
    outcome: 'complete' | 'failed' | 'blind';
    seen: number;
    message: string;
  } | null;
  lastCompleteAt: string | null;
  deviceCount: number;
  gaps: Gap[];
}

export interface Sources {
  sources: Source[];
  automatic: boolean;
  rights: { rawSockets: boolean };
  suggestions: string[];
}

/** A session as the NetAlertX-compatible paths answer it; its plain times are local to the server's zone. */
export interface PresenceSession {
  id?: string;
  ses_MAC: string;
  ses_Connection: string;
  ses_Disconnection: string;
  ses_Duration: string;
  ses_IP: string;
  ses_Info: string;
  ses_DateTimeConnection?: string | null;
  ses_DateTimeDisconnection?: string | null;
  ses_EventTypeConnection?: string;
  ses_EventTypeDisconnection?: string | null;
  ses_StillConnected?: 0 | 1;
}

/** Its times are wall-clock times in the server's zone, without an offset. */
export interface CalendarSession {
  resourceId: string;
  title: string;
  start: string;
  end: string;
  color: string;
  tooltip: string;
  className: string;
}
