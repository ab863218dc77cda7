// A made-up network: the same 1,000 devices and year of sessions for the same day.

export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const KINDS = [
  { type: 'Phone', vendors: ['Apple', 'Samsung Electronics', 'Google', ''], names: ['phone', 'pixel', 'iphone'], habit: 'person', share: 0.24, random: 0.6 },
  { type: 'Laptop', vendors: ['Intel Corporate', 'Apple', 'Lenovo', 'Dell'], names: ['laptop', 'thinkpad', 'macbook'], habit: 'person', share: 0.18, random: 0.15 },
  { type: 'Server', vendors: ['Supermicro', 'Proxmox', 'Hewlett Packard'], names: ['srv', 'vm', 'db', 'build'], habit: 'always', share: 0.16, random: 0 },
  { type: 'Printer', vendors: ['Brother', 'Hewlett Packard', 'Canon'], names: ['printer'], habit: 'sleepy', share: 0.05, random: 0 },
  { type: 'Camera', vendors: ['Hikvision', 'Axis Communications'], names: ['cam'], habit: 'always', share: 0.08, random: 0 },
  { type: 'Light', vendors: ['Espressif', 'Philips Lighting', 'Shelly'], names: ['light', 'plug', 'sensor'], habit: 'always', share: 0.13, random: 0 },
  { type: 'Television', vendors: ['LG Electronics', 'Sony', 'Amazon'], names: ['tv', 'stick'], habit: 'evening', share: 0.06, random: 0 },
  { type: null, vendors: ['', '', 'Espressif'], names: [null], habit: 'guest', share: 0.1, random: 0.8 },
];
const OWNERS = ['Ada', 'Björn', 'Chloë', 'Dmitri', 'Ebele', 'Farah', 'Grace', 'Hiro'];
const ROOMS = ['kitchen', 'hall', 'attic', 'lab', 'office', 'garage', 'studio', 'cellar'];

const hex = (n) => n.toString(16).toUpperCase().padStart(2, '0');

function sessions(rand, habit, from, to) {
  const out = [];
  const push = (start, end) => {
    if (end > from && start < to) out.push([Math.max(start, from), Math.min(end, to)]);
  };
  if (habit === 'always') {
    let at = from;
    while (at < to) {
      const end = at + (2 + rand() * 45) * DAY;
      push(at, end);
      at = end + (0.05 + rand() * rand() * 12) * HOUR;
    }
    return out;
  }
  for (let day = from; day < to; day += DAY) {
    const weekend = [0, 6].includes(new Date(day).getUTCDay());
    const present = { person: weekend ? 0.55 : 0.92, sleepy: 0.95, evening: 0.8, guest: 0.05 }[habit];
    if (rand() > present) continue;
    const parts = habit === 'person' ? 1 + Math.floor(rand() * 4) : 1 + Math.floor(rand() * 2);
    let at = day + (habit === 'evening' ? 17 + rand() * 3 : 6 + rand() * 3) * HOUR;
    for (let i = 0; i < parts; i++) {
      const end = at + (0.3 + rand() * (habit === 'person' ? 5 : 4)) * HOUR;
      push(at, end);
      at = end + (0.2 + rand() * 2) * HOUR;
    }
  }
  return out;
}

export function makeNetwork(now, count) {
  const rand = random(20260801);
  const from = now - 366 * DAY;
  const devices = [];
  for (let i = 0; i < count; i++) {
    let pick = rand();
    const kind = KINDS.find((k) => (pick -= k.share) < 0) ?? KINDS[0];
    const randomised = rand() < kind.random;
    const first = randomised ? 0x02 | (Math.floor(rand() * 63) << 2) : (Math.floor(rand() * 63) << 2) & 0xfc;
    const mac = [first, ...Array.from({ length: 5 }, () => Math.floor(rand() * 256))].map(hex).join(':');
    const vendor = randomised ? null : kind.vendors[Math.floor(rand() * kind.vendors.length)] || null;
    const stem = kind.names[Math.floor(rand() * kind.names.length)];
    const owner = ['Phone', 'Laptop'].includes(kind.type) && rand() < 0.8 ? OWNERS[Math.floor(rand() * OWNERS.length)] : null;
    const room = ROOMS[Math.floor(rand() * ROOMS.length)];
    const hostname = stem && rand() < 0.85 ? `${stem}-${owner ? owner.toLowerCase().normalize('NFD').replace(/[^a-z]/g, '') : room}-${i}` : null;
    const name = rand() < 0.35 && stem ? `${owner ? `${owner}’s` : room[0].toUpperCase() + room.slice(1)} ${stem}` : null;
    const born = rand() < 0.8 ? from : from + rand() * (now - from - DAY);
    const list = sessions(rand, kind.habit, born, now);
    if (!list.length) list.push([now - 3 * HOUR, now - 2 * HOUR]);
    const maySleep = kind.habit === 'sleepy';
    // The last one is still open for those who are here.
    const last = list.at(-1);
    const open = now - last[1] < 1000 || (kind.habit === 'always' && rand() < 0.97) || (kind.habit === 'person' && rand() < 0.4);
    if (open && now - last[1] >= 1000) {
      if (now - last[1] < 3 * HOUR) last[1] = now;
      else list.push([now - rand() * 3 * HOUR, now]);
    }
    const flags = list.map(([, ], n) => (n === list.length - 1 && open ? 1 : rand() < 0.004 ? (rand() < 0.5 ? 2 : 4) : 0));
    const ip = `10.${Math.floor(i / 250)}.0.${(i % 250) + 2}`;
    const alertDown = kind.type === 'Server' && rand() < 0.5;
    devices.push({
      mac, name, owner, type: kind.type, notes: null, vendor, hostname, randomised,
      isNew: now - born < 4 * DAY,
      ip, ip6: rand() < 0.4 ? `fd00:1::${(i + 16).toString(16)}` : null,
      graceSeconds: null, alertDown, maySleep, archived: rand() < 0.02,
      list, flags, firstSeen: list[0][0], lastSeen: list.at(-1)[1],
      state: open ? (maySleep && rand() < 0.4 ? 'sleeping' : 'online') : alertDown ? 'down' : i % 90 === 7 ? 'unknown' : 'offline',
      source: i % 5 === 4 ? 'src_leases' : i % 250 > 200 ? 'src_push' : 'src_arp',
    });
  }
  return devices;
}
