// Users, roles, tokens and the audit trail of the mock. Nothing here is secure; it never leaves development.
const iso = (ms) => new Date(ms).toISOString();
const START = Date.now();
const KEYS = {
  'presence.view': 'See devices, presence sessions and events', 'presence.manage': 'Edit devices and presence sessions, report sightings',
  'sessions.view_own': "See one's own access and file sessions", 'sessions.view_any': "See everyone's access and file sessions", 'sessions.delete': 'Purge access and file sessions',
  'sessions.watch': 'Watch live sessions', 'sessions.terminate': 'End live sessions', 'connections.create': 'Create connections', 'connections.edit_own': "Edit one's own connections", 'connections.edit_any': "Edit everyone's connections", 'connections.delete_own': "Delete one's own connections", 'connections.delete_any': "Delete everyone's connections", 'connections.share': 'Share connections', 'connections.use': 'Open connections that were shared', 'protocols.ssh': 'Use SSH', 'protocols.telnet': 'Use Telnet',
  'audit.view': 'Read the audit trail', 'users.manage': 'Manage users, their tokens and logins', 'roles.manage': 'Manage roles', 'settings.manage': 'Manage sources and settings',
};
const roles = [
  { name: 'admin', description: 'May do everything', builtin: true, permissions: Object.keys(KEYS) },
  { name: 'auditor', description: 'Sees everything that was recorded, changes nothing', builtin: true, permissions: ['presence.view', 'sessions.view_any', 'sessions.watch', 'audit.view'] },
  { name: 'user', description: 'Uses what was shared, sees own sessions and presence', builtin: true, permissions: ['presence.view', 'sessions.view_own', 'connections.use', 'protocols.ssh'] },
  { name: 'desk', description: 'Names devices at the front desk', builtin: false, permissions: ['presence.view', 'presence.manage'] },
];
const user = (id, name, displayName, role, password) => ({ id, name, displayName, role, password, disabled: false, createdAt: iso(START - 3e9), lastLoginAt: iso(START - 4e6) });
const setup = { code: process.env.MOCK_SETUP_CODE ?? null };
const users = setup.code ? [] : [user('user_1', 'admin', 'Ada Lovelace', 'admin', 'sojourn-demo'), user('user_2', 'grace', 'Grace Hopper', 'auditor', 'sojourn-demo'), user('user_3', 'hiro', null, 'user', 'sojourn-demo'), { ...user('user_4', 'former', 'Former colleague', 'user', 'x'), disabled: true, lastLoginAt: null }];
const tokens = setup.code ? [] : [
  { id: 'tok_1', label: 'Home Assistant', userId: 'user_1', userName: 'admin', permissions: ['presence.view'], createdAt: iso(START - 9e9), expiresAt: null, lastUsedAt: iso(START - 30_000), revokedAt: null },
  { id: 'tok_2', label: 'workshop sensor', userId: 'user_1', userName: 'admin', permissions: ['presence.manage'], createdAt: iso(START - 8e9), expiresAt: iso(START + 9e9), lastUsedAt: iso(START - 47 * 60_000), revokedAt: null },
  { id: 'tok_3', label: 'old script', userId: 'user_2', userName: 'grace', permissions: null, createdAt: iso(START - 2e10), expiresAt: iso(START - 1e9), lastUsedAt: null, revokedAt: iso(START - 2e9) },
];
const audit = [];
const log = (actor, action, object, outcome = 'done', detail = {}, at = Date.now()) => audit.push({ seq: audit.length + 1, at: iso(at), actor, action, object, outcome, detail, clientAddress: '127.0.0.1', hash: `${((audit.length + 1) * 2654435761 % 4294967296).toString(16)}${'9c'.repeat(28)}` });
const who = (u) => ({ id: u.id, name: u.name, kind: 'user' });
if (!setup.code) {
  const acts = ['device.update', 'login', 'source.create', 'token.create', 'user.update', 'presence.session.delete', 'role.update'];
  for (let i = 0; i < 240; i++) log(i % 17 === 3 ? { id: null, name: 'root', kind: 'cli' } : i % 11 === 2 ? { id: null, name: null, kind: 'anonymous' } : who(users[i % 3]), i % 11 === 2 ? 'login' : acts[i % acts.length], i % 11 === 2 ? null : ['src_arp', 'user_3', 'tok_1', '5C:00:11:22:33:44'][i % 4], i % 11 === 2 || i % 29 === 5 ? 'refused' : 'done', i % 2 ? { name: 'Kitchen light', before: null } : {}, START - (240 - i) * 4.1e6);
}
const logins = new Map();
const fail = (status, detail, errors, code) => { throw { status, detail, errors, code }; };
const shown = (u) => ({ id: u.id, name: u.name, displayName: u.displayName, role: u.role, disabled: u.disabled, createdAt: u.createdAt, lastLoginAt: u.lastLoginAt, tokenCount: tokens.filter((t) => t.userId === u.id && !t.revokedAt).length });
const cookieOf = (req) => /sojourn_login=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
export const userOf = (req) => { const l = logins.get(cookieOf(req)); return l ? users.find((u) => u.id === l.userId) ?? null : null; };
export const permissionsOf = (u) => (u ? roles.find((r) => r.name === u.role)?.permissions ?? [] : []);
function login(u, req, res) {
  const id = Math.random().toString(36).slice(2);
  logins.set(id, { id, userId: u.id, createdAt: iso(Date.now()), userAgent: req.headers['user-agent'] });
  res.setHeader('Set-Cookie', `sojourn_login=${id}; HttpOnly; SameSite=Lax; Path=/`);
  u.lastLoginAt = iso(Date.now());
  return { ok: true, user: { id: u.id, name: u.name, role: u.role } };
}
const strong = (p, field = 'password') => (p ?? '').length < 10 && fail(422, 'the password is too short', [{ field, message: 'at least 10 characters' }]);
let failures = 0;
export const identityRoutes = [
  ['GET', /^\/auth\/state$/, ({ req }) => { const u = userOf(req); return { setupRequired: users.length === 0, user: u && { id: u.id, name: u.name, displayName: u.displayName, role: u.role }, permissions: permissionsOf(u), timezone: process.env.MOCK_ZONE ?? 'UTC', version: '0.1.0' }; }, true],
  ['POST', /^\/auth\/setup$/, ({ body, req, res }) => { if (body.code !== setup.code) fail(403, 'the setup code is wrong or was used already'); strong(body.password); users.push(user('user_1', body.name, null, 'admin', body.password)); setup.code = Symbol('used'); return login(users[0], req, res); }, true],
  ['POST', /^\/auth\/login$/, ({ body, req, res }) => { if (failures >= 5) { failures = 0; res.setHeader('Retry-After', '3'); fail(429, 'too many attempts, wait 3 seconds'); } const u = users.find((x) => x.name === body.name && x.password === body.password && !x.disabled); if (!u) { failures++; fail(401, 'the name or the password is wrong'); } failures = 0; return login(u, req, res); }, true],
  ['POST', /^\/auth\/logout$/, ({ req }) => { logins.delete(cookieOf(req)); return { ok: true }; }, true],
  ['GET', /^\/auth\/logins$/, ({ req, user: u }) => ({ logins: [...logins.values()].filter((l) => l.userId === u.id).map((l) => ({ ...l, lastSeenAt: iso(Date.now()), clientAddress: '127.0.0.1', current: l.id === cookieOf(req) })) })],
  ['DELETE', /^\/auth\/logins\/(.+)$/, ({ m }) => (logins.delete(m[1]), { ok: true })],
  ['POST', /^\/auth\/password$/, ({ body, user: u }) => { if (body.current !== u.password) fail(422, 'the current password is wrong', [{ field: 'current', message: 'this is not the current password' }]); strong(body.new, 'new'); u.password = body.new; return { ok: true }; }],
  ['GET', /^\/users$/, () => ({ users: users.map(shown), page: 1, limit: 100, total: users.length })],
  ['POST', /^\/users$/, ({ body, user: u }) => { if (!/^[a-z0-9._-]+$/.test(body.name ?? '')) fail(422, 'the name is not usable', [{ field: 'name', message: 'lower-case letters, digits, dot, dash and underscore' }]); if (users.some((x) => x.name === body.name)) fail(409, `there is a user called ${body.name} already`); strong(body.password); const n = user(`user_${users.length + 1}`, body.name, body.displayName ?? null, body.role, body.password); n.lastLoginAt = null; users.push(n); log(who(u), 'user.create', n.id); return [201, shown(n)]; }],
  ['PATCH', /^\/users\/(.+)$/, ({ m, body, user: u }) => { const x = users.find((y) => y.id === m[1]); if (x.role === 'admin' && (body.disabled || (body.role && body.role !== 'admin'))) fail(409, 'this is the last administrator: make another one first'); Object.assign(x, body); log(who(u), 'user.update', x.id); return shown(x); }],
  ['DELETE', /^\/users\/(.+)$/, ({ m, user: u }) => { const x = users.find((y) => y.id === m[1]); if (x.role === 'admin') fail(409, 'this is the last administrator: make another one first'); users.splice(users.indexOf(x), 1); log(who(u), 'user.delete', x.id); return { ok: true }; }],
  ['GET', /^\/roles$/, () => ({ roles: roles.map((r) => ({ ...r, userCount: users.filter((u) => u.role === r.name).length })), permissions: Object.entries(KEYS).map(([key, description]) => ({ key, description })) })],
  ['POST', /^\/roles$/, ({ body }) => { if (roles.some((r) => r.name === body.name)) fail(409, `there is a role called ${body.name} already`); const r = { builtin: false, description: '', ...body }; roles.push(r); return [201, { ...r, userCount: 0 }]; }],
  ['PATCH', /^\/roles\/(.+)$/, ({ m, body }) => { const r = roles.find((x) => x.name === m[1]); if (r.builtin) fail(409, 'built-in roles cannot be changed'); Object.assign(r, body); return { ...r, userCount: 0 }; }],
  ['DELETE', /^\/roles\/(.+)$/, ({ m }) => { const i = roles.findIndex((x) => x.name === m[1]); if (users.some((u) => u.role === m[1])) fail(409, 'users have this role'); roles.splice(i, 1); return { ok: true }; }],
  ['GET', /^\/tokens$/, ({ q, user: u }) => ({ tokens: tokens.filter((t) => q.get('all') === 'true' || t.userId === u.id) })],
  ['POST', /^\/tokens$/, ({ body, user: u }) => { if (!body.label) fail(422, 'a token needs a label', [{ field: 'label', message: 'say what the token is for' }]); const t = { id: `tok_${tokens.length + 1}`, label: body.label, userId: u.id, userName: u.name, permissions: body.permissions ?? null, createdAt: iso(Date.now()), expiresAt: body.expiresInSeconds ? iso(Date.now() + body.expiresInSeconds * 1000) : null, lastUsedAt: null, revokedAt: null }; tokens.unshift(t); log(who(u), 'token.create', t.id); return [201, { ...t, token: `sjt_${'x7Kq'.repeat(10)}` }]; }],
  ['DELETE', /^\/tokens\/(.+)$/, ({ m }) => { tokens.find((t) => t.id === m[1]).revokedAt = iso(Date.now()); return { ok: true }; }],
  ['GET', /^\/audit$/, ({ q }) => {
    const page = Number(q.get('page') ?? 1), limit = Number(q.get('limit') ?? 100), words = q.get('q')?.toLowerCase();
    const list = audit.filter((e) => (!q.get('outcome') || e.outcome === q.get('outcome')) && (!q.get('action') || e.action.startsWith(q.get('action'))) && (!q.get('actor') || e.actor.name === q.get('actor')) && (!words || JSON.stringify(e).toLowerCase().includes(words))).reverse();
    return { entries: list.slice((page - 1) * limit, page * limit), page, limit, total: list.length, head: { seq: audit.length, hash: audit.at(-1)?.hash ?? '' } };
  }],
];
