// Which address shows which page. Each page is its own chunk, loaded when it is opened.
import type { Component } from 'svelte';
import { SEE_SESSIONS } from './lib/navigation';

type Loader = () => Promise<{ default: Component<any> }>;
export interface Match {
  load: Loader;
  props: Record<string, string>;
  /** Without one of these (by `|`) the page says that it may not be seen. */
  needs: string | null;
}

const routes: [RegExp, string | null, Loader][] = [
  [/^\/$/, 'presence.view', () => import('./pages/now/Now.svelte')],
  [/^\/devices$/, 'presence.view', () => import('./pages/devices/Devices.svelte')],
  [/^\/devices\/(?<mac>[^/]+)$/, 'presence.view', () => import('./pages/devices/Device.svelte')],
  [/^\/presence(\/timeline)?$/, 'presence.view', () => import('./pages/presence/Timeline.svelte')],
  [/^\/presence\/calendar$/, 'presence.view', () => import('./pages/presence/Calendar.svelte')],
  [/^\/presence\/events$/, 'presence.view', () => import('./pages/presence/Events.svelte')],
  [/^\/connect$/, 'connections.use|connections.create|connections.edit_any', () => import('./pages/connect/Connect.svelte')],
  [/^\/terminal$/, 'connections.use|connections.create|connections.edit_any', () => import('./pages/terminal/Terminal.svelte')],
  [/^\/desktop\/(?<id>[^/]+)$/, 'connections.use|connections.create|connections.edit_any', () => import('./pages/desktop/Desktop.svelte')],
  [/^\/files$/, 'connections.use|connections.create|connections.edit_any', () => import('./pages/files/Files.svelte')],
  [/^\/files\/(?<id>[^/]+)$/, 'connections.use|connections.create|connections.edit_any', () => import('./pages/files/Files.svelte')],
  [/^\/sessions$/, SEE_SESSIONS, () => import('./pages/sessions/Sessions.svelte')],
  [/^\/sessions\/(?<id>[^/]+)$/, SEE_SESSIONS, () => import('./pages/sessions/Session.svelte')],
  [/^\/file-sessions$/, SEE_SESSIONS, () => import('./pages/file-sessions/FileSessions.svelte')],
  [/^\/file-sessions\/(?<id>[^/]+)$/, SEE_SESSIONS, () => import('./pages/file-sessions/FileSession.svelte')],
  [/^\/live$/, SEE_SESSIONS, () => import('./pages/live/Live.svelte')],
  [/^\/live\/(?<id>[^/]+)$/, SEE_SESSIONS, () => import('./pages/live/Watch.svelte')],
  [/^\/settings\/sources$/, 'presence.view', () => import('./pages/settings/Sources.svelte')],
  [/^\/settings\/users$/, 'users.manage', () => import('./pages/settings/Users.svelte')],
  [/^\/settings\/roles$/, 'roles.manage', () => import('./pages/settings/Roles.svelte')],
  [/^\/settings\/tokens$/, null, () => import('./pages/settings/Tokens.svelte')],
  [/^\/settings\/storage$/, 'settings.manage', () => import('./pages/settings/Storage.svelte')],
  [/^\/settings\/nodes$/, 'settings.manage', () => import('./pages/settings/Nodes.svelte')],
  [/^\/settings\/audit$/, 'audit.view', () => import('./pages/settings/Audit.svelte')],
  [/^\/settings(\/account)?$/, null, () => import('./pages/settings/Account.svelte')],
];

export function match(path: string): Match | null {
  for (const [pattern, needs, load] of routes) {
    const found = pattern.exec(path);
    if (found) {
      const props = Object.fromEntries(Object.entries(found.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value ?? '')]));
      return { load, props, needs };
    }
  }
  return null;
}
