// Who is logged in and what they may do, as the server says.
import { api, whenLoggedOut } from './api/client';
import type { AuthState, Permission } from './api/types';
import { knownZone } from './zone';

class Auth {
  state = $state.raw<AuthState | null>(null);
  error = $state.raw<unknown>(null);

  get user() {
    return this.state?.user ?? null;
  }

  /** The zone in which every time is shown. */
  get zone(): string {
    return knownZone(this.state?.timezone || 'UTC');
  }

  may(permission: Permission): boolean {
    return this.state?.permissions.includes(permission) ?? false;
  }

  /** `a|b` needs one of both. */
  mayAny(needs: string | null): boolean {
    return !needs || needs.split('|').some((permission) => this.may(permission));
  }

  async load(): Promise<void> {
    try {
      this.state = await api.get<AuthState>('/auth/state');
      this.error = null;
    } catch (error) {
      this.error = error;
    }
  }

  async logout(): Promise<void> {
    // Their module keeps open terminals: it is there only if one was opened.
    if (sessionStorage.getItem('sojourn.terminals')) (await import('./terminal/workspace.svelte')).workspace.forget();
    if (localStorage.getItem('sojourn.queue')) (await import('./files/queue/index.svelte')).queue.forget();
    await api.post('/auth/logout', {});
    await this.load();
  }
}

export const auth = new Auth();
whenLoggedOut(() => {
  if (auth.user) void auth.load();
});
