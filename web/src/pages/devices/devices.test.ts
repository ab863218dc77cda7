import { describe, expect, it } from 'vitest';
import type { Device } from '../../lib/api/types';
import { csvCell } from '../../lib/csv';
import { deviceQuery, devicesCsv, readFilter } from './devices';

describe('filter', () => {
  it('is what the address says, and nothing that it cannot mean', () => {
    expect(readFilter(new URLSearchParams('q=pi&state=online&sort=ip&dir=desc'))).toEqual({ q: 'pi', state: 'online', type: '', owner: '', sort: 'ip', dir: 'desc' });
    expect(readFilter(new URLSearchParams('sort=password&dir=sideways'))).toMatchObject({ sort: 'displayName', dir: 'asc' });
  });

  it('asks the server for the archive instead of a state', () => {
    expect(deviceQuery(readFilter(new URLSearchParams('state=archived')))).toEqual({ sort: 'displayName', dir: 'asc', archived: 'true' });
    expect(deviceQuery(readFilter(new URLSearchParams('state=down&owner=Ada')))).toEqual({ sort: 'displayName', dir: 'asc', state: 'down', owner: 'Ada' });
  });
});

describe('export', () => {
  it.each([
    ['plain', 'plain'],
    ['a,b', '"a,b"'],
    ['say "hi"', '"say ""hi"""'],
    ['=HYPERLINK("x")', '"\'=HYPERLINK(""x"")"'],
    ['+49', "'+49"],
    [null, ''],
    [true, 'true'],
  ])('writes %s as %s', (value, expected) => {
    expect(csvCell(value)).toBe(expected);
  });

  it('has a header and one line a device', () => {
    const lines = devicesCsv([{ displayName: 'a\nb', mac: 'AA:BB:CC:DD:EE:FF', state: 'online' } as Device]).split('\r\n');
    expect(lines[0]).toMatch(/^displayName,state,since,ip,mac,/);
    expect(lines[1]).toMatch(/^"a\nb",online,/);
  });
});
