// What the list of devices asks for, and how it is written in the address.
import { api } from '../../lib/api/client';
import type { Device, DeviceChange, DeviceCounts, Page } from '../../lib/api/types';
import { csvCell } from '../../lib/csv';

export interface DevicePage extends Page {
  devices: Device[];
  counts: DeviceCounts;
}

/** `state` may also be `new` (nobody has looked at it yet) or `archived`. */
export interface DeviceFilter {
  q: string;
  state: string;
  type: string;
  owner: string;
  sort: string;
  dir: 'asc' | 'desc';
}

export const SORTS = ['displayName', 'state', 'ip', 'vendor', 'firstSeen', 'lastSeen', 'owner', 'type'];

export function readFilter(query: URLSearchParams): DeviceFilter {
  const sort = query.get('sort') ?? '';
  return {
    q: query.get('q') ?? '',
    state: query.get('state') ?? '',
    type: query.get('type') ?? '',
    owner: query.get('owner') ?? '',
    sort: SORTS.includes(sort) ? sort : 'displayName',
    dir: query.get('dir') === 'desc' ? 'desc' : 'asc',
  };
}

/** The filter as the server's parameters. */
export function deviceQuery(filter: DeviceFilter): Record<string, string> {
  const out: Record<string, string> = { sort: filter.sort, dir: filter.dir };
  if (filter.q) out.q = filter.q;
  if (filter.type) out.type = filter.type;
  if (filter.owner) out.owner = filter.owner;
  if (filter.state === 'archived') out.archived = 'true';
  else if (filter.state === 'new') out.isNew = 'true';
  else if (filter.state) out.state = filter.state;
  return out;
}

export async function allDevices(filter: DeviceFilter): Promise<Device[]> {
  const out: Device[] = [];
  for (let page = 1; ; page++) {
    const answer = await api.get<DevicePage>('/devices', { ...deviceQuery(filter), page, limit: 2000 });
    out.push(...answer.devices);
    if (!answer.devices.length || out.length >= answer.total) return out;
  }
}

export function changeDevices(macs: string[], set: DeviceChange): Promise<{ changed: number }> {
  return api.patch('/devices', { macs, set });
}

/** The types that people give devices most; any other text is as good. */
export const COMMON_TYPES = ['Phone', 'Laptop', 'Desktop', 'Tablet', 'Server', 'Router', 'Switch', 'Access point', 'Printer', 'Camera', 'Television', 'Speaker', 'Light', 'Sensor', 'Console', 'Storage'];

const EXPORTED = ['displayName', 'state', 'since', 'ip', 'mac', 'vendor', 'hostname', 'owner', 'type', 'firstSeen', 'lastSeen', 'isNew', 'randomised', 'alertDown', 'maySleep', 'archived', 'notes'] as const;

export function devicesCsv(devices: Device[]): string {
  const lines = devices.map((device) => EXPORTED.map((key) => csvCell(device[key])).join(','));
  return [EXPORTED.join(','), ...lines].join('\r\n') + '\r\n';
}
