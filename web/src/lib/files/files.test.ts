import { describe, expect, it } from 'vitest';
import type { FileEntry } from '../api/files';
import { around, diff } from './diff';
import { asText } from './kinds';
import { ListingReader } from './listing';
import { letters, ordered, rowOf, startingWith } from './order';
import { beside, clean, crumbs, join, nameFault, textOf, typed, wireOf } from './paths';
import { filesAddress, readPlaces } from './places';

const entry = (name: string, more: Partial<FileEntry> = {}): FileEntry => ({ name, path: `/d/${name}`, kind: 'file', size: 1, modified: null, permissions: null, owner: null, group: null, linkTarget: null, ...more });

describe('paths', () => {
  it('are bytes for the server and text for people', () => {
    expect(join('/', 'a b')).toBe('/a%20b');
    expect(textOf('/a%20b/%C3%BC')).toBe('/a b/ü');
    expect(textOf('/caf%E9')).toBe('/caf\\xe9');
    expect(textOf('/a%0Ab%E2%80%AEc')).toBe('/a\\x0ab\\xe2\\x80\\xaec');
    expect(wireOf({ path: '/x', rawPath: '/%FF' })).toBe('/%FF');
    expect(crumbs('/a%20b/c').map((crumb) => [crumb.name, crumb.path])).toEqual([['a b', '/a%20b'], ['c', '/a%20b/c']]);
  });
  it('are typed as people type them', () => {
    expect(typed('/srv//www/../x y/')).toBe('/srv/x%20y');
    expect(typed('~/docs', '/srv/ada')).toBe('/srv/ada/docs');
    expect(typed('100%')).toBe('/100%25');
    expect(clean('/../..')).toBe('/');
  });
  it('stand in the address of the page', () => {
    const places = { path: '/a%20b/%FF', with: 'conn_2', path2: '/x' };
    const address = filesAddress('conn_1', places);
    expect(readPlaces(address.slice(address.indexOf('?')))).toEqual(places);
    expect(readPlaces('?path=%2Fsrv%2Fwww').path).toBe('/srv/www');
    expect(readPlaces('').path).toBeNull();
  });
  it('have names beside others', () => {
    expect(beside('a.txt')).toBe('a (2).txt');
    expect(beside('a.tar.gz')).toBe('a (2).tar.gz');
    expect(beside('.bashrc')).toBe('.bashrc (2)');
    expect(beside('a', (name) => name === 'a (2)')).toBe('a (3)');
    expect(nameFault('a/b')).not.toBeNull();
    expect(nameFault('..')).not.toBeNull();
    expect(nameFault('ä'.repeat(128))).not.toBeNull();
    expect(nameFault('fine')).toBeNull();
  });
});

describe('order', () => {
  const rows = [entry('b10'), entry('B9'), entry('a', { kind: 'folder' }), entry('z', { size: 50 })].map((one) => rowOf(one, '/d'));
  const names = (by: 'name' | 'size', dir: 'asc' | 'desc') => ordered(rows, { by, dir }).map((row) => row.entry.name);
  it('puts folders first and counts numbers', () => {
    expect(names('name', 'asc')).toEqual(['a', 'B9', 'b10', 'z']);
    expect(names('name', 'desc')).toEqual(['a', 'z', 'b10', 'B9']);
    expect(names('size', 'desc')).toEqual(['a', 'z', 'B9', 'b10']);
  });
  it('finds by first letters, round about', () => {
    const list = ordered(rows, { by: 'name', dir: 'asc' });
    expect(startingWith(list, 'b', 2)).toBe(2);
    expect(startingWith(list, 'b', 3)).toBe(1);
    expect(startingWith(list, 'x', 0)).toBe(-1);
  });
  it('writes permissions in letters', () => {
    expect(letters('0644')).toBe('rw-r--r--');
    expect(letters('4755')).toBe('rwsr-xr-x');
    expect(letters('1776')).toBe('rwxrwxrwT');
  });
});

describe('listing', () => {
  const text = JSON.stringify({ path: '/d', capabilities: { copy: true }, entries: [entry('a'), entry('},{"x":"'), entry('"}]}'), entry(']}')] });
  it('is read wherever it is split', () => {
    for (let at = 1; at < text.length; at++) {
      let path = '';
      const found: string[] = [];
      const reader = new ListingReader((head) => (path = head.path), (entries) => found.push(...entries.map((one) => one.name)));
      reader.add(text.slice(0, at));
      reader.add(text.slice(at));
      expect([path, found, reader.complete]).toEqual(['/d', ['a', '},{"x":"', '"}]}', ']}'], true]);
    }
  });
  it('knows when it was cut off', () => {
    const reader = new ListingReader(() => {}, () => {});
    reader.add(text.slice(0, -1));
    expect(reader.complete).toBe(false);
    const empty = new ListingReader(() => {}, () => {});
    empty.add('{"path":"/d","capabilities":{},"entries":[]}');
    expect(empty.complete).toBe(true);
  });
});

describe('text', () => {
  it('is told from other bytes', () => {
    const bytes = new TextEncoder().encode('grün');
    expect(asText(bytes, false)).toBe('grün');
    expect(asText(bytes.subarray(0, 3), true)).toBe('gr');
    expect(asText(bytes.subarray(0, 3), false)).toBeNull();
    expect(asText(new Uint8Array([65, 0, 66]), false)).toBeNull();
  });
  it('is compared line by line', () => {
    const lines = diff('a\nb\nc\nd', 'a\nx\nc\nd');
    expect(lines.map((line) => line.sign + line.text)).toEqual([' a', '-b', '+x', ' c', ' d']);
    expect(around(diff('1\n2\n3\n4\n5\n6\n7\n8\n9', '1\n2\n3\n4\n5\n6\n7\n8\nx'), 1).map((line) => line && line.sign + line.text)).toEqual([null, ' 8', '-9', '+x']);
  });
});
