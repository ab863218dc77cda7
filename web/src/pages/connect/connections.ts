// What the Connect page asks for, and what its form sends.
import type { AuthKind, Connection, ConnectionOptions, ConnectionPolicy, DesktopPolicy, Protocol } from '../../lib/api/access';
import type { FilePolicy } from '../../lib/api/files';
import { PROTOCOLS, size, withoutFiles } from '../../lib/access/words';
import { duration } from '../../lib/time';

export interface ConnectionFilter {
  q: string;
  folder: string;
  tag: string;
  protocol: string;
}

export function readFilter(query: URLSearchParams): ConnectionFilter {
  const of = (key: string) => query.get(key) ?? '';
  return { q: of('q'), folder: of('folder'), tag: of('tag'), protocol: of('protocol') };
}

export const NO_RULES: FilePolicy = { readOnly: false, noDelete: false, maxUploadBytes: null, maxDownloadBytes: null, allow: [], deny: [] };
export const FREE_DESKTOP: DesktopPolicy = { viewOnly: false, allowCopy: true, allowPaste: true };
export const DEFAULT_POLICY: ConnectionPolicy = {
  record: 'mandatory',
  recordInput: false,
  recordExecOutput: false,
  allowForwarding: true,
  allowAgent: false,
  allowFiles: true,
  files: NO_RULES,
  desktop: FREE_DESKTOP,
  tellWatched: true,
  idleLimitSeconds: null,
  timeLimitSeconds: null,
};

export interface Draft {
  name: string;
  protocol: Protocol;
  host: string;
  port: string;
  username: string;
  auth: AuthKind;
  password: string;
  privateKey: string;
  passphrase: string;
  hostKey: string;
  folder: string;
  tags: string;
  notes: string;
  policy: ConnectionPolicy;
  options: Required<ConnectionOptions>;
}

export function draftOf(connection: Connection | null): Draft {
  return {
    name: connection?.name ?? '',
    protocol: connection?.protocol ?? 'ssh',
    host: connection?.host ?? '',
    port: connection?.port ? String(connection.port) : '',
    username: connection?.username ?? '',
    auth: connection?.auth ?? 'password',
    password: '',
    privateKey: '',
    passphrase: '',
    hostKey: '',
    folder: connection?.folder ?? '',
    tags: connection?.tags.join(', ') ?? '',
    notes: connection?.notes ?? '',
    policy: { ...DEFAULT_POLICY, ...connection?.policy, files: { ...NO_RULES, ...connection?.policy.files }, desktop: { ...FREE_DESKTOP, ...connection?.policy.desktop } },
    options: { tls: connection?.options?.tls ?? 'explicit', share: connection?.options?.share ?? '', domain: connection?.options?.domain ?? '', root: connection?.options?.root ?? '' },
  };
}

export const tagsOf = (text: string) => [...new Set(text.split(',').map((tag) => tag.trim()).filter(Boolean))];

/** What the server is sent. A secret that was not typed anew is left out, and so stays as it is. */
export function bodyOf(draft: Draft, hadRules = false): Record<string, unknown> {
  const secret: Record<string, unknown> = {};
  if (draft.auth === 'password' && draft.password) secret.password = draft.password;
  if (draft.auth === 'key' && draft.privateKey.trim()) {
    secret.privateKey = draft.privateKey.trim() + '\n';
    if (draft.passphrase) secret.passphrase = draft.passphrase;
  }
  const { tls, share, domain, root } = draft.options;
  const options: ConnectionOptions = {
    ...(draft.protocol === 'ftp' ? { tls } : {}),
    ...(draft.protocol === 'smb' && share.trim() ? { share: share.trim() } : {}),
    ...(draft.protocol === 'smb' && domain.trim() ? { domain: domain.trim() } : {}),
    ...(!withoutFiles(draft.protocol) && root.trim() ? { root: root.trim() } : {}),
  };
  return {
    name: draft.name.trim(),
    protocol: draft.protocol,
    host: draft.host.trim(),
    ...(draft.port ? { port: Number(draft.port) } : {}),
    username: draft.username.trim(),
    auth: draft.auth,
    ...secret,
    ...(draft.hostKey.trim() ? { hostKey: draft.hostKey.trim() } : {}),
    folder: draft.folder.trim(),
    tags: tagsOf(draft.tags),
    notes: draft.notes.trim(),
    policy: sentPolicy(draft.policy, hadRules),
    ...(Object.keys(options).length || draft.protocol !== 'telnet' ? { options } : {}),
  };
}

/** Rules for files that say nothing are left out, unless they take away some that were there. */
function sentPolicy(policy: ConnectionPolicy, hadRules: boolean): Partial<ConnectionPolicy> {
  const { files, ...rest } = policy;
  return hadRules || JSON.stringify(files) !== JSON.stringify(NO_RULES) ? policy : rest;
}

/** What a connection's policy lets happen, in a line. */
export function policyLine(policy: ConnectionPolicy): string {
  const words = [policy.record === 'mandatory' ? 'always recorded' : policy.record === 'best_effort' ? 'recorded as far as possible' : 'not recorded'];
  if (policy.record !== 'off' && policy.recordInput) words.push('keys too');
  const barred = [!policy.allowFiles && 'files', !policy.allowForwarding && 'forwarding'].filter(Boolean);
  if (barred.length) words.push(`no ${barred.join(', no ')}`);
  const { files } = policy;
  if (files?.readOnly) words.push('files are read-only');
  else if (files?.noDelete) words.push('no files are deleted');
  if (files?.maxUploadBytes) words.push(`uploads up to ${size(files.maxUploadBytes)}`);
  if (files?.maxDownloadBytes) words.push(`downloads up to ${size(files.maxDownloadBytes)}`);
  if (files && files.allow.length + files.deny.length) words.push('rules for paths');
  if (policy.desktop?.viewOnly) words.push('desktops are looked at');
  else if (policy.desktop && !policy.desktop.allowPaste) words.push('nothing is pasted on desktops');
  if (policy.desktop && !policy.desktop.allowCopy) words.push('nothing is copied from desktops');
  if (policy.allowAgent) words.push('agent allowed');
  if (policy.idleLimitSeconds) words.push(`ends after ${duration(policy.idleLimitSeconds * 1000)} idle`);
  if (policy.timeLimitSeconds) words.push(`ends after ${duration(policy.timeLimitSeconds * 1000)}`);
  return words.join(' · ');
}

/** `alice@10.0.0.7:2222`, as far as one may know it. */
export function targetOf(connection: Pick<Connection, 'host' | 'port' | 'username' | 'protocol'>): string {
  if (!connection.host) return '';
  const usual = PROTOCOLS.find((known) => known.value === connection.protocol)?.port;
  const host = connection.host.includes(':') ? `[${connection.host}]` : connection.host;
  return `${connection.username ? `${connection.username}@` : ''}${host}${connection.port && connection.port !== usual ? `:${connection.port}` : ''}`;
}
