import { expect, test } from 'vitest';
import { CHORDS, play } from './keys';
import { Pipe } from './pipe';
import { scancode } from './rdp/scancodes';
import { addressOf, openSocket } from './rdp/socket';

test('chords are let go in the other order', () => {
  const sent: string[] = [];
  play(CHORDS[0]!, (_sym, code, down) => sent.push(`${down ? '+' : '-'}${code}`));
  expect(sent).toEqual(['+ControlLeft', '+AltLeft', '+Delete', '-Delete', '-AltLeft', '-ControlLeft']);
  for (const chord of CHORDS) expect(chord.keys.every((key) => key.sym > 0 && key.code)).toBe(true);
});

test('what comes before anybody listens is kept, and heard after whoever listens has said so', async () => {
  const sent: unknown[] = [];
  const pipe = new Pipe((data) => sent.push(data));
  const heard: number[] = [];
  pipe.receive(new Uint8Array([1]).buffer);
  pipe.onmessage = ({ data }) => heard.push(new Uint8Array(data)[0]!);
  pipe.receive(new Uint8Array([2]).buffer);
  expect(heard).toEqual([]);
  await Promise.resolve();
  expect(heard).toEqual([1, 2]);
  pipe.receive(new Uint8Array([3]).buffer);
  expect(heard).toEqual([1, 2, 3]);
  let closed = 0;
  pipe.onclose = () => (closed += 1);
  pipe.close();
  expect(closed).toBe(0);
  await Promise.resolve();
  pipe.over();
  pipe.send(new Uint8Array([3]).buffer);
  expect([closed, sent.length, pipe.readyState]).toEqual([1, 0, 'closed']);
});

test('keys have the places that RDP knows', () => {
  const places = { Escape: 0x01, Digit1: 0x02, Tab: 0x0f, KeyQ: 0x10, Enter: 0x1c, ControlLeft: 0x1d, KeyA: 0x1e, Backslash: 0x2b, KeyZ: 0x2c, Space: 0x39, CapsLock: 0x3a, F10: 0x44, ScrollLock: 0x46, NumpadDecimal: 0x53, F12: 0x58, Delete: 0xe053, MetaLeft: 0xe05b };
  for (const [code, scan] of Object.entries(places)) expect([code, scancode(code)]).toEqual([code, scan]);
  expect(scancode('LaunchMail')).toBeUndefined();
  for (const chord of CHORDS) for (const { code } of chord.keys) expect(scancode(code)).toBeDefined();
});

test('a pipe is found under its address, once', async () => {
  const sent: unknown[] = [];
  const pipe = new Pipe((data) => sent.push(data));
  const address = addressOf(pipe);
  const socket = openSocket(address);
  expect(() => openSocket(address)).toThrow();
  const heard: string[] = [];
  for (const name of ['open', 'message', 'close']) socket.addEventListener(name, () => heard.push(name));
  pipe.receive(new Uint8Array([1]).buffer);
  // To be open, and then for what came early.
  await Promise.resolve();
  await Promise.resolve();
  socket.send(new Uint8Array([2]));
  expect([heard, sent.length, socket.readyState]).toEqual([['open', 'message'], 1, 1]);
});
