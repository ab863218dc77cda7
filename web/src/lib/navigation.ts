// The pages that someone may open, in the order of the rail.
import Activity from '@lucide/svelte/icons/activity';
import CalendarRange from '@lucide/svelte/icons/calendar-range';
import MonitorSmartphone from '@lucide/svelte/icons/monitor-smartphone';
import Settings from '@lucide/svelte/icons/settings';
import { auth } from './auth.svelte';

export interface Entry {
  to: string;
  text: string;
  icon: typeof Activity;
  /** Paths for which the entry is marked. */
  within: RegExp;
  needs: string | null;
}

const ENTRIES: Entry[] = [
  { to: '/', text: 'Now', icon: Activity, within: /^\/$/, needs: 'presence.view' },
  { to: '/devices', text: 'Devices', icon: MonitorSmartphone, within: /^\/devices/, needs: 'presence.view' },
  { to: '/presence/timeline', text: 'Presence', icon: CalendarRange, within: /^\/presence/, needs: 'presence.view' },
  { to: '/settings/sources', text: 'Settings', icon: Settings, within: /^\/settings/, needs: null },
];

const SETTINGS = [
  { to: '/settings/sources', text: 'Sources', needs: 'presence.view' },
  { to: '/settings/users', text: 'Users', needs: 'users.manage' },
  { to: '/settings/roles', text: 'Roles', needs: 'roles.manage' },
  { to: '/settings/tokens', text: 'Tokens', needs: null },
  { to: '/settings/audit', text: 'Audit', needs: 'audit.view' },
  { to: '/settings/account', text: 'Account', needs: null },
];

export const PRESENCE_TABS = [
  { to: '/presence/timeline', text: 'Timeline' },
  { to: '/presence/calendar', text: 'Calendar' },
  { to: '/presence/events', text: 'Events' },
];

const allowed = (item: { needs: string | null }) => !item.needs || auth.may(item.needs);

export function settingsTabs(): { to: string; text: string }[] {
  return SETTINGS.filter(allowed);
}

export function entries(): Entry[] {
  const first = settingsTabs()[0];
  return ENTRIES.filter(allowed).map((entry) => (entry.text === 'Settings' && first ? { ...entry, to: first.to } : entry));
}
