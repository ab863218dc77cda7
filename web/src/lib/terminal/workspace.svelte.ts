// The terminals of this browser tab: they stay open while other pages are looked at, and come back after a reload.
import { boxes, panesOf, shared, split, without, type Layout } from './layout';
import { Pane, type Target } from './pane.svelte';

export interface TerminalTab {
  id: string;
  layout: Layout;
  active: string;
}
interface Kept {
  tabs: TerminalTab[];
  current: string | null;
  panes: { id: string; target: Target; sessionId: string }[];
}

const KEY = 'sojourn.terminals';
let next = 1;
const fresh = (kind: string) => `${kind}${Date.now().toString(36)}${next++}`;

class Workspace {
  tabs = $state.raw<TerminalTab[]>([]);
  current = $state<string | null>(null);
  #panes = new Map<string, Pane>();

  constructor() {
    this.#restore();
    // Leaving the page lets go of the sessions, and does not end them.
    addEventListener('pagehide', () => this.#keep());
  }

  get tab(): TerminalTab | null {
    return this.tabs.find((tab) => tab.id === this.current) ?? null;
  }
  get pane(): Pane | null {
    return this.tab ? this.of(this.tab.active) : null;
  }
  of(id: string): Pane | null {
    return this.#panes.get(id) ?? null;
  }
  panesOf(tab: TerminalTab): Pane[] {
    return panesOf(tab.layout).flatMap((id) => this.of(id) ?? []);
  }
  all(): Pane[] {
    return this.tabs.flatMap((tab) => this.panesOf(tab));
  }
  boxes(tab: TerminalTab) {
    return boxes(tab.layout);
  }

  open(target: Target): void {
    const pane = this.#make(target);
    const tab: TerminalTab = { id: fresh('t'), layout: { pane: pane.id }, active: pane.id };
    this.tabs = [...this.tabs, tab];
    this.current = tab.id;
    this.#keep();
  }

  /** A second session over the same connection, beside or below the active one. */
  split(dir: 'row' | 'column'): void {
    const { tab, pane } = this;
    if (!tab || !pane || !pane.target.id.startsWith('conn_')) return;
    const added = this.#make(pane.target);
    this.#change(tab.id, (tab) => ({ ...tab, layout: split(tab.layout, pane.id, dir, added.id), active: added.id }));
  }

  share(tab: string, path: string, ratio: number): void {
    this.#change(tab, (tab) => ({ ...tab, layout: shared(tab.layout, path, ratio) }));
  }

  show(tab: string): void {
    this.current = tab;
    this.#keep();
  }
  step(by: number): void {
    const index = this.tabs.findIndex((tab) => tab.id === this.current);
    const tab = this.tabs[(index + by + this.tabs.length) % this.tabs.length];
    if (tab) this.show(tab.id);
  }

  activate(tab: string, pane: string): void {
    if (this.tabs.find((known) => known.id === tab)?.active !== pane) this.#change(tab, (tab) => ({ ...tab, active: pane }));
  }

  closePane(id: string): void {
    const tab = this.tabs.find((tab) => panesOf(tab.layout).includes(id));
    if (!tab) return;
    this.of(id)?.close();
    this.#panes.delete(id);
    const layout = without(tab.layout, id);
    if (layout) this.#change(tab.id, (tab) => ({ ...tab, layout, active: tab.active === id ? panesOf(layout)[0]! : tab.active }));
    else this.#drop(tab.id);
  }

  closeTab(id: string): void {
    const tab = this.tabs.find((tab) => tab.id === id);
    if (!tab) return;
    for (const pane of this.panesOf(tab)) {
      pane.close();
      this.#panes.delete(pane.id);
    }
    this.#drop(id);
  }

  /** Somebody else may log in next: nothing of this one's stays. */
  forget(): void {
    for (const pane of this.#panes.values()) pane.close();
    this.#panes.clear();
    this.tabs = [];
    this.current = null;
    this.#keep();
  }

  #drop(id: string): void {
    const index = this.tabs.findIndex((tab) => tab.id === id);
    this.tabs = this.tabs.filter((tab) => tab.id !== id);
    if (this.current === id) this.current = this.tabs[Math.min(index, this.tabs.length - 1)]?.id ?? null;
    this.#keep();
  }

  #change(id: string, act: (tab: TerminalTab) => TerminalTab): void {
    this.tabs = this.tabs.map((tab) => (tab.id === id ? act(tab) : tab));
    this.#keep();
  }

  #make(target: Target, sessionId?: string, id = fresh('p')): Pane {
    const pane = sessionId ? new Pane(id, { ...target, id: sessionId }, 'attach') : new Pane(id, target);
    pane.target = target;
    pane.onchange = () => this.#keep();
    pane.onclosed = () => this.closePane(pane.id);
    this.#panes.set(id, pane);
    return pane;
  }

  #keep(): void {
    const panes = this.all().flatMap((pane) => (pane.sessionId && pane.state !== 'ended' ? [{ id: pane.id, target: pane.target, sessionId: pane.sessionId }] : []));
    const kept: Kept = { tabs: this.tabs, current: this.current, panes };
    try {
      if (panes.length) sessionStorage.setItem(KEY, JSON.stringify(kept));
      else sessionStorage.removeItem(KEY);
    } catch {
      // Storage may be refused: terminals then do not come back after a reload.
    }
  }

  #restore(): void {
    let kept: Kept;
    try {
      kept = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as Kept;
    } catch {
      return;
    }
    if (!kept?.tabs?.length) return;
    for (const { id, target, sessionId } of kept.panes) this.#make(target, sessionId, id);
    this.tabs = kept.tabs.flatMap((tab) => {
      let layout: Layout | null = tab.layout;
      for (const id of panesOf(tab.layout)) if (layout && !this.#panes.has(id)) layout = without(layout, id);
      return layout ? [{ ...tab, layout, active: this.#panes.has(tab.active) ? tab.active : panesOf(layout)[0]! }] : [];
    });
    this.current = this.tab?.id ?? this.tabs[0]?.id ?? null;
  }
}

export const workspace = new Workspace();
