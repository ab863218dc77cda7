// What each kind of source is called and needs.
import type { GapReason, SourceKind } from '../../lib/api/types';

export interface KindInfo {
  text: string;
  about: string;
  fields: ('interface' | 'cidr' | 'path' | 'format')[];
  /** It scans at intervals, rather than listening or being told. */
  scans: boolean;
  creatable: boolean;
}

export const KINDS: Record<SourceKind, KindInfo> = {
  arp: { text: 'ARP scan', about: 'Asks every address of a subnet. Exact, needs the right to open raw sockets.', fields: ['interface', 'cidr'], scans: true, creatable: true },
  neighbors: { text: 'Neighbour table', about: "Reads the kernel's table of neighbours, IPv4 and IPv6. Needs no rights.", fields: ['interface', 'cidr'], scans: true, creatable: true },
  passive: { text: 'Listening', about: 'Hears ARP, DHCP, mDNS and neighbour discovery on an interface. Needs the right to open raw sockets.', fields: ['interface'], scans: false, creatable: true },
  'dhcp-leases': { text: 'DHCP leases', about: 'Follows the lease file of dnsmasq, ISC dhcpd or Kea.', fields: ['path', 'format'], scans: true, creatable: true },
  push: { text: 'Reports', about: 'What sensors and scripts report through the API.', fields: [], scans: false, creatable: true },
  import: { text: 'Import', about: "Another tool's file, read once.", fields: [], scans: false, creatable: false },
};

export const LEASE_FORMATS = [
  { value: '', text: 'Find out' },
  { value: 'dnsmasq', text: 'dnsmasq' },
  { value: 'isc-dhcpd', text: 'ISC dhcpd' },
  { value: 'kea', text: 'Kea memfile CSV' },
];

export const REASON: Record<GapReason, string> = { failed: 'failed', blind: 'could not see', not_running: 'was not running' };
