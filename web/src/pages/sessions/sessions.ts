// What the Sessions page asks for, and its table as a file.
import type { AccessSession, SessionPage } from '../../lib/api/access';
import { api, type Query } from '../../lib/api/client';
import { endingOf, protocolName, purposeOf } from '../../lib/access/words';
import { csvTable } from '../../lib/csv';
import { addDays, parseWall } from '../../lib/zone';

export interface SessionFilter {
  q: string;
  userId: string;
  connectionId: string;
  protocol: string;
  live: string;
  from: string;
  to: string;
}

export function readFilter(query: URLSearchParams): SessionFilter {
  const of = (key: string) => query.get(key) ?? '';
  return { q: of('q'), userId: of('userId'), connectionId: of('connectionId'), protocol: of('protocol'), live: of('live'), from: of('from'), to: of('to') };
}

/** What the server is asked; whole days of `zone`, both ends included. */
export function sessionQuery(filter: SessionFilter, zone: string): Query {
  const day = (text: string, plus: number) => {
    const at = parseWall(text, zone);
    return at === null ? undefined : new Date(addDays(at, plus, zone)).toISOString();
  };
  return { ...filter, from: day(filter.from, 0), to: day(filter.to, 1) };
}

const EXPORT_PAGE = 1000;
/** So many at most: a file for people, not a copy of the archive. */
export const EXPORT_LIMIT = 50_000;

export async function allSessions(query: Query, progress: (done: number, total: number) => void, signal: AbortSignal): Promise<AccessSession[]> {
  const all: AccessSession[] = [];
  for (let page = 1; ; page++) {
    const answer = await api.get<SessionPage>('/sessions', { ...query, page, limit: EXPORT_PAGE }, signal);
    all.push(...answer.sessions);
    progress(all.length, answer.total);
    if (!answer.sessions.length || all.length >= answer.total || all.length >= EXPORT_LIMIT) return all;
  }
}

const HEAD = ['id', 'startedAt', 'endedAt', 'user', 'connection', 'protocol', 'what', 'client', 'from', 'commands', 'bytesIn', 'bytesOut', 'exitStatus', 'end', 'endDetail', 'recording', 'legalHold'];

export function sessionsCsv(sessions: AccessSession[]): string {
  return csvTable(
    HEAD,
    sessions.map((one) => [
      one.id, one.startedAt, one.endedAt, one.username, one.connectionName, protocolName(one.protocol), purposeOf(one), one.clientKind, one.clientAddress, one.commandCount, one.bytesIn, one.bytesOut,
      one.exitSignal ?? one.exitStatus, one.live ? 'live' : endingOf(one.endReason), one.endDetail, one.recording, one.legalHold,
    ]),
  );
}

export const lengthOf = (session: AccessSession, now: number) => (session.endedAt ? Date.parse(session.endedAt) : now) - Date.parse(session.startedAt);
