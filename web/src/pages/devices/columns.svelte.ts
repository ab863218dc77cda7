// The columns of the list of devices, and which of them this browser hides.
import type { Column } from '../../lib/ui/grid';

export const COLUMNS: Column[] = [
  { key: 'state', label: 'State', width: '98px', sort: 'state' },
  { key: 'name', label: 'Name', width: 'minmax(190px, 1.7fr)', sort: 'displayName' },
  { key: 'ip', label: 'IP', width: 'minmax(116px, 0.8fr)', sort: 'ip' },
  { key: 'mac', label: 'MAC', width: '140px', from: 820 },
  { key: 'vendor', label: 'Vendor', width: 'minmax(110px, 1fr)', sort: 'vendor', from: 960 },
  { key: 'owner', label: 'Owner', width: 'minmax(84px, 0.6fr)', sort: 'owner', from: 760 },
  { key: 'type', label: 'Type', width: 'minmax(84px, 0.6fr)', sort: 'type', from: 880 },
  { key: 'hostname', label: 'Host name', width: 'minmax(120px, 1fr)', from: 1320 },
  { key: 'firstSeen', label: 'First seen', width: '132px', sort: 'firstSeen', from: 1160 },
  { key: 'lastSeen', label: 'Last seen', width: '132px', sort: 'lastSeen', from: 700 },
];

const KEY = 'sojourn.devices.hidden-columns';

class ColumnChoice {
  hidden = $state.raw<ReadonlySet<string>>(this.#stored());

  toggle(key: string): void {
    const next = new Set(this.hidden);
    if (!next.delete(key)) next.add(key);
    this.hidden = next;
    try {
      localStorage.setItem(KEY, JSON.stringify([...next]));
    } catch {
      // Storage may be refused: the choice lasts for this page.
    }
  }

  #stored(): Set<string> {
    try {
      const value = JSON.parse(localStorage.getItem(KEY) ?? '[]');
      return new Set(Array.isArray(value) ? value : []);
    } catch {
      return new Set();
    }
  }
}

export const columnChoice = new ColumnChoice();
