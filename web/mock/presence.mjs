// Devices, sessions, events and sources of the mock.
import { makeNetwork, random } from './seed.mjs';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.now();
const iso = (ms) => (ms === null || ms === undefined ? null : new Date(ms).toISOString());
const two = (n) => String(n).padStart(2, '0');
const count = Number(process.env.MOCK_DEVICES ?? 1000);

export const devices = count ? makeNetwork(START, count) : [];
const byMac = new Map(devices.map((d) => [d.mac, d]));
const events = [];
const listeners = new Set();
export const subscribe = (fn) => (listeners.add(fn), () => listeners.delete(fn));
const emit = (name, data, id) => listeners.forEach((fn) => fn(name, data, id));

const displayName = (d) => d.name ?? d.hostname ?? (d.vendor ? `${d.vendor} ${d.mac.slice(-5)}` : `Unknown ${d.mac.slice(-5)}`);

function gaps() {
  return [
    { sourceId: 'src_arp', sourceName: 'arp eth0', from: iso(START - 41 * DAY), until: iso(START - 40.6 * DAY), reason: 'not_running', message: 'the server was not running' },
    { sourceId: 'src_push', sourceName: 'workshop sensor', from: iso(START - 47 * 60_000), until: null, reason: 'blind', message: 'no report for 47 minutes' },
    { sourceId: 'src_leases', sourceName: 'dnsmasq leases', from: iso(START - 6 * DAY), until: iso(START - 6 * DAY + 5 * HOUR), reason: 'failed', message: 'cannot read /var/lib/misc/dnsmasq.leases: permission denied' },
  ];
}

const source = (id, name, kind, settings, scope, status, message, seen, more = {}) => ({
  id, name, kind, enabled: true, automatic: kind !== 'push', settings, intervalSeconds: kind === 'passive' ? 0 : 60, graceSeconds: 120, scope,
  health: { status, since: iso(START - 5 * DAY), message: message ?? '' },
  lastScan: { startedAt: iso(START - 22_000), finishedAt: iso(START - 20_100), outcome: status === 'ok' ? 'complete' : 'failed', seen, message: null },
  lastCompleteAt: iso(START - 20_100), deviceCount: devices.filter((d) => d.source === id).length, gaps: gaps().filter((g) => g.sourceId === id), ...more,
});
export const sources = count === 0 && process.env.MOCK_BARE ? [] : [
  source('src_arp', 'arp eth0', 'arp', { interface: 'eth0', cidr: '10.0.0.0/22' }, '10.0.0.0/22 on eth0', 'ok', null, 561),
  source('src_passive', 'passive eth0', 'passive', { interface: 'eth0' }, 'eth0', 'ok', null, 212),
  source('src_leases', 'dnsmasq leases', 'dhcp-leases', { path: '/var/lib/misc/dnsmasq.leases', format: 'dnsmasq' }, '/var/lib/misc/dnsmasq.leases', 'ok', null, 188),
  source('src_push', 'workshop sensor', 'push', {}, 'reported by sensors', 'blind', 'no report for 47 minutes', 0),
];

const view = (d) => {
  const last = d.list.at(-1);
  const s = sources.find((x) => x.id === d.source) ?? sources[0];
  return {
    mac: d.mac, name: d.name ?? '', displayName: displayName(d), owner: d.owner ?? '', type: d.type ?? '', notes: d.notes ?? '', vendor: d.vendor ?? '', hostname: d.hostname ?? '',
    randomised: d.randomised, isNew: d.isNew, state: d.state, since: iso(['online', 'sleeping'].includes(d.state) ? last?.[0] : last?.[1] ?? null),
    firstSeen: iso(d.firstSeen), lastSeen: iso(d.state === 'online' ? Date.now() - 20_000 : d.lastSeen), ip: d.ip,
    addresses: [{ ip: d.ip, family: 4, firstSeen: iso(d.firstSeen), lastSeen: iso(d.lastSeen) }, ...(d.ip6 ? [{ ip: d.ip6, family: 6, firstSeen: iso(d.firstSeen + DAY), lastSeen: iso(d.lastSeen) }] : [])],
    graceSeconds: d.graceSeconds, alertDown: d.alertDown, maySleep: d.maySleep, archived: d.archived,
    sources: s ? [{ id: s.id, name: s.name, kind: s.kind, lastSeen: iso(d.lastSeen) }] : [],
  };
};

function counts() {
  const c = { online: 0, sleeping: 0, unknown: 0, down: 0, offline: 0, archived: 0, new: 0, all: 0 };
  for (const d of devices) {
    c.all++;
    if (d.archived) { c.archived++; continue; }
    c[d.state]++;
    if (d.isNew) c.new++;
  }
  return c;
}

function record(d, type, at, info = '', live = true) {
  const e = { id: 0, at: iso(at), recordedAt: iso(at + 900), type, mac: d.mac, name: displayName(d), ip: d.ip, info, certain: type !== '<missing event>' };
  events.push(e);
  if (live) { e.id = events.length; emit('presence', e, e.id); emit('device', view(d)); emit('counts', { ...counts(), at: iso(Date.now()) }); }
  return e;
}

for (const d of devices) {
  d.list.forEach(([a, b], i) => {
    if (i === 0) record(d, 'New Device', a, d.vendor ?? '', false);
    record(d, d.flags[i] & 2 ? '<missing event>' : 'Connected', a, '', false);
    if (!(d.flags[i] & 1)) record(d, d.flags[i] & 4 ? '<missing event>' : d.state === 'down' && i === d.list.length - 1 ? 'Device Down' : 'Disconnected', b, '', false);
  });
}
events.sort((x, y) => (x.at < y.at ? -1 : 1)).forEach((e, i) => (e.id = i + 1));

function comeOrGo(d, at = Date.now()) {
  if (d.state === 'online') {
    d.state = 'offline'; d.flags[d.flags.length - 1] = 0; d.list.at(-1)[1] = at; d.lastSeen = at;
    record(d, 'Disconnected', at);
  } else {
    const was = d.state; d.state = 'online'; d.list.push([at, at]); d.flags.push(1); d.lastSeen = at;
    record(d, was === 'down' ? 'Down Reconnected' : 'Connected', at);
  }
}
if (count && !process.env.MOCK_STILL) {
  const rand = random(7);
  setInterval(() => comeOrGo(devices[Math.floor(rand() * devices.length)]), 5000).unref();
}

const filterDevices = (q) => {
  const words = (q.get('q') ?? '').toLowerCase();
  const archived = q.get('archived') ?? 'false';
  const states = q.get('state')?.split(',');
  return devices.filter((d) =>
    (archived === 'all' || String(d.archived) === archived) &&
    (!states || states.includes(d.state)) && (!q.get('isNew') || String(d.isNew) === q.get('isNew')) &&
    (!q.get('type') || d.type === q.get('type')) && (!q.get('owner') || d.owner === q.get('owner')) &&
    (!words || [displayName(d), d.mac, d.ip, d.vendor, d.owner, d.hostname, d.type].some((t) => t?.toLowerCase().includes(words))));
};
const ipKey = (ip) => ip?.split('.').map((n) => n.padStart(3, '0')).join('.') ?? '';
const paged = (list, q, max = 2000, def = 100) => {
  const page = Math.max(1, Number(q.get('page') ?? 1)), limit = Math.min(max, Number(q.get('limit') ?? def));
  return { slice: list.slice((page - 1) * limit, page * limit), page, limit, total: list.length };
};
const local = (ms) => { const d = new Date(ms); return `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())} ${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`; };
const text = (ms) => { const m = Math.floor(ms / 60000); return m >= 1440 ? `${Math.floor(m / 1440)}d ${Math.floor((m % 1440) / 60)}h ${m % 60}m` : m >= 60 ? `${Math.floor(m / 60)}h ${m % 60}m` : `${m}m`; };
const wire = (d, i) => {
  const [a, b] = d.list[i], f = d.flags[i], open = f & 1;
  return { id: `psess_${d.mac}_${i}`, ses_MAC: d.mac, ses_Connection: f & 2 ? '<missing event>' : local(a), ses_Disconnection: open ? '...' : f & 4 ? '<missing event>' : local(b),
    ses_Duration: f & 6 ? '...' : text((open ? Date.now() : b) - a), ses_IP: d.ip, ses_Info: '', ses_DateTimeConnection: f & 2 ? null : iso(a), ses_DateTimeDisconnection: open || f & 4 ? null : iso(b),
    ses_EventTypeConnection: f & 2 ? '<missing event>' : 'Connected', ses_EventTypeDisconnection: open ? '' : f & 4 ? '<missing event>' : 'Disconnected', ses_StillConnected: open ? 1 : 0, at: a };
};
const overlapping = (d, from, to) => d.list.map((_, i) => i).filter((i) => d.list[i][0] < to && (d.flags[i] & 1 || d.list[i][1] > from));
const periodMs = (p) => { const m = /^(\d+) (minute|hour|day|week|month|year)s?$/.exec(p ?? '1 day'); return p === 'all' ? Infinity : m ? Number(m[1]) * { minute: 60e3, hour: HOUR, day: DAY, week: 7 * DAY, month: 30 * DAY, year: 365 * DAY }[m[2]] : null; };
const range = (q) => [Date.parse(q.get('from')) || START - DAY, Date.parse(q.get('to')) || Date.now()];

function apply(d, set) {
  if ('name' in set && /[\u0000-\u001f]/.test(set.name ?? '')) throw { status: 422, detail: 'the name contains control characters', errors: [{ field: 'name', message: 'no control characters, please' }] };
  for (const key of ['name', 'owner', 'type', 'notes', 'graceSeconds', 'alertDown', 'maySleep', 'archived', 'isNew']) if (key in set) d[key] = set[key] === '' ? null : set[key];
  emit('device', view(d));
}
const find = (mac) => byMac.get(decodeURIComponent(mac).toUpperCase()) ?? (() => { throw { status: 404, detail: 'no device has this MAC address' }; })();

export const presenceRoutes = [
  ['GET', /^\/devices$/, ({ q }) => {
    const list = filterDevices(q), sort = q.get('sort') ?? 'displayName', dir = q.get('dir') === 'desc' ? -1 : 1;
    const order = ['down', 'unknown', 'online', 'sleeping', 'offline'];
    const key = { displayName: (d) => displayName(d).toLowerCase(), ip: (d) => ipKey(d.ip), state: (d) => order.indexOf(d.state), lastSeen: (d) => (d.state === 'online' ? Infinity : d.lastSeen) }[sort] ?? ((d) => d[sort] ?? '\uffff');
    list.sort((x, y) => (key(x) < key(y) ? -dir : key(x) > key(y) ? dir : x.mac < y.mac ? -1 : 1));
    const { slice, ...page } = paged(list, q);
    return { success: true, devices: slice.map(view), ...page, counts: counts() };
  }],
  ['PATCH', /^\/devices$/, ({ body }) => { body.macs.forEach((mac) => apply(find(mac), body.set)); return { ok: true, changed: body.macs.length }; }],
  ['POST', /^\/devices$/, ({ body }) => {
    if (!/^([0-9a-f]{2}[:-]?){5}[0-9a-f]{2}$/i.test(body.mac ?? '')) throw { status: 422, detail: 'mac is not a MAC address', errors: [{ field: 'mac', message: 'write it as AA:BB:CC:DD:EE:FF' }] };
    return [201, view(add(body.mac.replace(/[^0-9a-f]/gi, '').match(/../g).join(':').toUpperCase(), body))];
  }],
  ['GET', /^\/devices\/([^/]+)$/, ({ m }) => view(find(m[1]))],
  ['PATCH', /^\/devices\/([^/]+)$/, ({ m, body }) => { const d = find(m[1]); apply(d, body); return view(d); }],
  ['DELETE', /^\/devices\/([^/]+)$/, ({ m }) => { const d = find(m[1]); devices.splice(devices.indexOf(d), 1); byMac.delete(d.mac); return { ok: true }; }],
  ['GET', /^\/devices\/([^/]+)\/timeline$/, ({ m, q }) => {
    const d = find(m[1]), [from, to] = range(q);
    return { mac: d.mac, from: iso(from), to: iso(to), gaps: gaps().filter((g) => g.sourceId === d.source),
      intervals: overlapping(d, from, to).map((i) => ({ start: iso(d.list[i][0]), end: d.flags[i] & 1 ? null : iso(d.list[i][1]), open: !!(d.flags[i] & 1), startKnown: !(d.flags[i] & 2), endKnown: !(d.flags[i] & 4), manual: !!(d.flags[i] & 8), ip: d.ip })),
      events: events.filter((e) => e.mac === d.mac && Date.parse(e.at) >= from && Date.parse(e.at) <= to).slice(-500) };
  }],
  ['GET', /^\/presence\/online$/, () => ({ success: true, at: iso(Date.now()), devices: devices.filter((d) => d.state === 'online').map((d) => ({ mac: d.mac, name: displayName(d), ip: d.ip, since: iso(d.list.at(-1)[0]), state: d.state })), counts: counts() })],
  ['GET', /^\/presence\/events$/, ({ q }) => {
    const limit = Math.min(1000, Number(q.get('limit') ?? 100)), before = Number(q.get('before') ?? Infinity), out = [];
    const types = q.get('type')?.split(','), from = Date.parse(q.get('from')) || -Infinity, to = Date.parse(q.get('to')) || Infinity, words = q.get('q')?.toLowerCase();
    for (let i = events.length - 1; i >= 0 && out.length < limit; i--) {
      const e = events[i];
      if (e.id >= before || (q.get('mac') && e.mac !== q.get('mac')) || (types && !types.includes(e.type))) continue;
      const at = Date.parse(e.at);
      if (at < from || at > to || (words && !`${e.name} ${e.mac} ${e.ip}`.toLowerCase().includes(words))) continue;
      out.push(e);
    }
    return { success: true, events: out, next: out.length === limit ? out.at(-1).id : null };
  }],
  ['GET', /^\/presence\/history$/, ({ q }) => {
    const [from, to] = range(q), n = 400, all = counts().all, points = [], base = counts().online;
    for (let i = 0; i <= n; i++) {
      const at = from + ((to - from) * i) / n, h = new Date(at).getUTCHours() + new Date(at).getUTCMinutes() / 60;
      const online = Math.round(base * (0.72 + 0.28 * Math.sin(((h - 9) / 24) * 2 * Math.PI)) + 6 * Math.sin(i * 1.7)), sleeping = 22 + Math.round(4 * Math.sin(i / 9)), down = i % 97 > 90 ? 3 : 1, unknown = i > n * 0.94 ? 48 : 4;
      points.push({ at: iso(at), online, sleeping, unknown, down, offline: all - online - sleeping - unknown - down, all });
    }
    return { points: count ? points : [] };
  }],
  ['GET', /^\/presence\/timeline$/, ({ q }) => {
    const [from, to] = range(q), { slice, ...page } = paged(filterDevices(q).sort((x, y) => displayName(x).localeCompare(displayName(y))), q, 200, 100), join = (to - from) / 4000;
    return { from: iso(from), to: iso(to), ...page, gaps: gaps(), devices: slice.map((d) => {
      const out = [];
      for (const i of overlapping(d, from, to)) {
        const a = d.list[i][0], b = d.flags[i] & 1 ? Date.now() : d.list[i][1], last = out.at(-1);
        if (last && a - last[1] < join) { last[1] = b; last[2] |= d.flags[i] & 9; } else out.push([Math.round(a), Math.round(b), d.flags[i]]);
      }
      return { mac: d.mac, name: displayName(d), state: d.state, intervals: out };
    }) };
  }],
  ['POST', /^\/presence\/sightings$/, ({ body }) => {
    for (const s of body.sightings) { const mac = s.mac.toUpperCase(), d = byMac.get(mac) ?? add(mac, { hostname: s.hostname, ip: s.ip }); if (d.state !== 'online') comeOrGo(d); }
    return { success: true, accepted: body.sightings.length, duplicate: false };
  }],
  ['GET', /^\/sessions\/calendar$/, ({ q }) => {
    const from = Date.parse(q.get('start')), to = Date.parse(q.get('end')) + DAY, out = [];
    for (const d of q.get('mac') ? [find(q.get('mac'))] : devices) for (const i of overlapping(d, from, to)) {
      const w = wire(d, i), f = d.flags[i], a = d.list[i][0], b = f & 1 ? Date.now() : d.list[i][1];
      out.push({ resourceId: d.mac, title: '', start: iso(a).slice(0, 19), end: iso(b).slice(0, 19), color: f & 6 ? '#f39c12' : f & 1 ? '#0073b7' : '#00a659', tooltip: `Connection: ${w.ses_Connection}\nDisconnection: ${f & 1 ? '<still connected>' : w.ses_Disconnection}\nIP: ${d.ip}`, className: 'no-border' });
    }
    return { success: true, sessions: out };
  }],
  ['GET', /^\/sessions\/list$/, ({ q }) => { const list = (q.get('mac') ? [find(q.get('mac'))] : devices).flatMap((d) => d.list.map((_, i) => wire(d, i))).sort((a, b) => b.at - a.at); return { success: true, sessions: paged(list, q, 2000, 2000).slice, total: list.length }; }],
  ['POST', /^\/sessions\/create$/, ({ body }) => {
    const d = find(body.mac), a = Date.parse(`${body.start_time}Z`), b = body.end_time ? Date.parse(`${body.end_time}Z`) : null;
    if (Number.isNaN(a)) throw { status: 422, detail: 'start_time is not a time', errors: [{ field: 'start_time', message: 'write it as 2025-08-01T10:00:00' }] };
    if (b !== null && b < a) throw { status: 422, detail: 'end_time is before start_time', errors: [{ field: 'end_time', message: 'must not be before the start' }] };
    d.list.push([a, b ?? Date.now()]); d.flags.push(8 | (b ? 0 : 1));
    return { success: true, message: `Session created for MAC ${d.mac}` };
  }],
  ['DELETE', /^\/sessions\/delete$/, ({ body }) => { const d = find(body.mac); d.list.length = 0; d.flags.length = 0; return { success: true, message: `Deleted sessions for MAC ${d.mac}` }; }],
  ['GET', /^\/sessions\/([^/]+)$/, ({ m, q }) => {
    const d = find(m[1]), p = periodMs(q.get('period')); if (p === null) throw { status: 422, detail: 'period must be a number and minute(s), hour(s), day(s), week(s), month(s) or year(s), or all' };
    return { success: true, sessions: overlapping(d, Date.now() - p, Date.now() + 1).map((i) => wire(d, i)).reverse() };
  }],
  ['GET', /^\/sources$/, () => ({ sources, automatic: true, rights: { rawSockets: sources.some((s) => s.kind === 'arp') }, suggestions: ['Give the program CAP_NET_RAW to scan by ARP: departures are then noticed within two minutes instead of up to half an hour.', 'The DHCP lease file /var/lib/dhcp/dhcpd.leases is there but cannot be read: add the user to the group dhcpd.'] })],
  ['POST', /^\/sources$/, ({ body }) => {
    if (body.kind === 'dhcp-leases' && !body.settings?.path) throw { status: 422, detail: 'a dhcp-leases source needs a path', errors: [{ field: 'settings.path', message: 'name the lease file' }] };
    const s = source(`src_${sources.length}x`, body.name || `${body.kind} ${body.settings?.interface ?? ''}`.trim(), body.kind, body.settings ?? {}, body.settings?.cidr ?? body.settings?.path ?? body.settings?.interface ?? '', 'waiting', null, 0, { automatic: false, intervalSeconds: body.intervalSeconds ?? 60, lastScan: null, lastCompleteAt: null });
    sources.push(s); return [201, s];
  }],
  ['PATCH', /^\/sources\/([^/]+)$/, ({ m, body }) => { const s = sources.find((x) => x.id === m[1]); Object.assign(s, body); s.health = { status: s.enabled ? 'waiting' : 'stopped', since: iso(Date.now()), message: null }; emit('source', s); return s; }],
  ['DELETE', /^\/sources\/([^/]+)$/, ({ m }) => { sources.splice(sources.findIndex((x) => x.id === m[1]), 1); return { ok: true }; }],
  ['POST', /^\/sources\/([^/]+)\/test$/, ({ m }) => (m[1] === 'src_push' ? { ok: false, message: 'no sensor has reported for 47 minutes', seen: 0 } : { ok: true, message: 'asked 1022 addresses, 561 answered in 3.1 s', seen: 561 })],
  ['POST', /^\/sources\/([^/]+)\/scan$/, () => [202, { ok: true }]],
];

function add(mac, more) {
  const d = { mac, name: more.name ?? null, owner: null, type: null, notes: null, vendor: null, hostname: more.hostname ?? null, randomised: (parseInt(mac.slice(0, 2), 16) & 2) !== 0, isNew: true, ip: more.ip ?? null, ip6: null, graceSeconds: null, alertDown: false, maySleep: false, archived: false, list: [], flags: [], firstSeen: Date.now(), lastSeen: Date.now(), state: 'offline', source: 'src_arp' };
  devices.push(d); byMac.set(mac, d); record(d, 'New Device', Date.now());
  return d;
}
export const currentCounts = () => ({ ...counts(), at: iso(Date.now()) });
