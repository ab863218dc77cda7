// How connections and sessions are put into words, the same on every page.
import type { AccessSession, AuthKind, Connection, EndReason, Protocol, RecordPolicy, Verification } from '../api/access';

export const PROTOCOLS: { value: Protocol; text: string; port: number }[] = [
  { value: 'ssh', text: 'SSH', port: 22 },
  { value: 'telnet', text: 'Telnet', port: 23 },
  { value: 'sftp', text: 'SFTP', port: 22 },
  { value: 'ftp', text: 'FTP', port: 21 },
  { value: 'smb', text: 'SMB', port: 445 },
  { value: 'rdp', text: 'RDP', port: 3389 },
  { value: 'vnc', text: 'VNC', port: 5900 },
];
export const withoutFiles = (protocol: Protocol) => protocol === 'telnet' || protocol === 'rdp' || protocol === 'vnc';
export const opensTerminal = (connection: Pick<Connection, 'protocol'>) => connection.protocol === 'ssh' || connection.protocol === 'telnet';
export const showsDesktop = (connection: Pick<Connection, 'protocol'>) => connection.protocol === 'rdp' || connection.protocol === 'vnc';
export const carriesFiles = (connection: Pick<Connection, 'protocol' | 'policy' | 'auth'>) => !withoutFiles(connection.protocol) && connection.auth !== 'agent' && (connection.protocol !== 'ssh' || connection.policy.allowFiles);

export const protocolName = (protocol: string) => PROTOCOLS.find((known) => known.value === protocol)?.text ?? protocol.toUpperCase();

export const AUTH: Record<AuthKind, { text: string; hint: string }> = {
  password: { text: 'Password kept here', hint: 'Encrypted under the master key. Nobody who uses the connection sees it.' },
  key: { text: 'Private key kept here', hint: 'Encrypted under the master key. Nobody who uses the connection sees it.' },
  prompt: { text: "Ask for the target's password each time", hint: 'Nothing is kept.' },
  agent: { text: "The user's own SSH agent", hint: 'Works from an SSH client that forwards its agent, not in the browser.' },
  none: { text: 'No credential', hint: 'The target lets in without one, or asks by itself.' },
};

export const RECORD: Record<RecordPolicy, { text: string; hint: string }> = {
  mandatory: { text: 'Always', hint: 'A session that cannot be recorded ends.' },
  best_effort: { text: 'As far as possible', hint: 'What could not be recorded is a named gap; the session goes on.' },
  off: { text: 'Not at all', hint: 'Who, when and how many bytes is kept all the same, and commands given with ssh.' },
};

/** Why it ended, as the rest of “The session …”. */
export const ENDINGS: Record<EndReason, string> = {
  closed: 'Closed',
  client_lost: 'Client went away',
  target_lost: 'Target went away',
  unreachable: 'Target not reached',
  login_refused: 'Target refused the login',
  host_key: 'Host key not accepted',
  denied: 'Refused by policy',
  terminated: 'Terminated',
  revoked: 'Right withdrawn',
  idle: 'Idle too long',
  time_limit: 'Time limit reached',
  recording_failed: 'Could not be recorded',
  server_stopped: 'Server stopped',
  server_died: 'Server failed',
  failed: 'Failed',
};
export const endingOf = (reason: string | null | undefined) => (reason ? (ENDINGS[reason as EndReason] ?? reason) : 'Ended');
/** What nobody wished for. */
export const badEnding = (reason: string | null) => !!reason && reason !== 'closed';

export function purposeOf(session: Pick<AccessSession, 'purpose' | 'command'>): string {
  switch (session.purpose) {
    case 'shell':
      return 'Terminal';
    case 'exec':
      return session.command ? `Command: ${session.command}` : 'Command';
    case 'subsystem':
      return session.command === 'sftp' || !session.command ? 'File transfer (sftp)' : `Subsystem ${session.command}`;
    case 'forward':
      return 'Forwarded ports';
    case 'desktop':
      return 'Desktop';
  }
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];
/** `204.8 kB`: powers of 1000, as disks are sold. */
export function size(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return '—';
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `0:07`, `12:03`, `1:02:03`: a place in a recording. */
export function stamp(ms: number): string {
  const all = Math.max(0, Math.floor(ms / 1000));
  const seconds = String(all % 60).padStart(2, '0');
  const minutes = Math.floor(all / 60) % 60;
  const hours = Math.floor(all / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${seconds}` : `${minutes}:${seconds}`;
}

/** What a verification found, in one sentence; `at` writes a moment of the session as a clock time. */
export function verdict(found: Verification, at: (ms: number) => string): { text: string; tone: 'good' | 'warn' | 'bad' | 'plain' } {
  switch (found.status) {
    case 'sealed':
      return found.ok ? { text: 'Complete and unaltered, checked just now', tone: 'good' } : { text: `Altered: ${found.message}`, tone: 'bad' };
    case 'incomplete': {
      const [gap] = found.gaps;
      if (!found.ok) return { text: `Altered: ${found.message}`, tone: 'bad' };
      if (!gap) return { text: 'Incomplete: the recording stops before the session did', tone: 'warn' };
      const more = found.gaps.length > 1 ? `, and ${found.gaps.length - 1} more` : '';
      if (gap.toMs === null) return { text: `Incomplete: what came after ${at(gap.fromMs)} is missing${more}`, tone: 'warn' };
      return { text: `Incomplete: ${((gap.toMs - gap.fromMs) / 1000).toFixed(1)} s missing at ${at(gap.fromMs)}${more}`, tone: 'warn' };
    }
    case 'altered':
      return { text: 'Altered', tone: 'bad' };
    case 'live':
      return { text: found.ok ? 'Unaltered so far; the session is still running' : `Altered: ${found.message}`, tone: found.ok ? 'plain' : 'bad' };
    case 'none':
      return { text: 'There is no recording', tone: 'plain' };
  }
}
