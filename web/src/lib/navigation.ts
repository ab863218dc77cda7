// The pages that someone may open, in the order of the rail.
import Activity from '@lucide/svelte/icons/activity';
import CalendarRange from '@lucide/svelte/icons/calendar-range';
import Clapperboard from '@lucide/svelte/icons/clapperboard';
import MonitorSmartphone from '@lucide/svelte/icons/monitor-smartphone';
import Radio from '@lucide/svelte/icons/radio';
import Settings from '@lucide/svelte/icons/settings';
import SquareTerminal from '@lucide/svelte/icons/square-terminal';
import { auth } from './auth.svelte';

export interface Entry {
  to: string;
  text: string;
  icon: typeof Activity;
  /** Paths for which the entry is marked. */
  within: RegExp;
  /** One of these permissions, by `|`. */
  needs: string | null;
  /** Left out of the bottom bar of narrow screens: reached from the entry before it. */
  wide?: boolean;
}

export const SEE_SESSIONS = 'sessions.view_own|sessions.view_any|sessions.watch';

const ENTRIES: Entry[] = [
  { to: '/', text: 'Now', icon: Activity, within: /^\/$/, needs: 'presence.view' },
  { to: '/devices', text: 'Devices', icon: MonitorSmartphone, within: /^\/devices/, needs: 'presence.view' },
  { to: '/presence/timeline', text: 'Presence', icon: CalendarRange, within: /^\/presence/, needs: 'presence.view' },
  { to: '/connect', text: 'Connect', icon: SquareTerminal, within: /^\/(connect|terminal|files)(\/|$)/, needs: 'connections.use|connections.create|connections.edit_any' },
  { to: '/sessions', text: 'Sessions', icon: Clapperboard, within: /^\/(file-)?sessions/, needs: SEE_SESSIONS },
  { to: '/live', text: 'Live', icon: Radio, within: /^\/live/, needs: SEE_SESSIONS, wide: true },
  { to: '/settings/sources', text: 'Settings', icon: Settings, within: /^\/settings/, needs: null },
];

const SETTINGS = [
  { to: '/settings/sources', text: 'Sources', needs: 'presence.view' },
  { to: '/settings/users', text: 'Users', needs: 'users.manage' },
  { to: '/settings/roles', text: 'Roles', needs: 'roles.manage' },
  { to: '/settings/tokens', text: 'Tokens', needs: null },
  { to: '/settings/storage', text: 'Storage', needs: 'settings.manage' },
  { to: '/settings/nodes', text: 'Nodes', needs: 'settings.manage' },
  { to: '/settings/audit', text: 'Audit', needs: 'audit.view' },
  { to: '/settings/account', text: 'Account', needs: null },
];

export const PRESENCE_TABS = [
  { to: '/presence/timeline', text: 'Timeline' },
  { to: '/presence/calendar', text: 'Calendar' },
  { to: '/presence/events', text: 'Events' },
];

export const SESSION_TABS = [
  { to: '/sessions', text: 'Sessions' },
  { to: '/file-sessions', text: 'File sessions' },
  { to: '/live', text: 'Live' },
];

const allowed = (item: { needs: string | null }) => auth.mayAny(item.needs);

export function settingsTabs(): { to: string; text: string }[] {
  return SETTINGS.filter(allowed);
}

export function entries(): Entry[] {
  const first = settingsTabs()[0];
  return ENTRIES.filter(allowed).map((entry) => (entry.text === 'Settings' && first ? { ...entry, to: first.to } : entry));
}
