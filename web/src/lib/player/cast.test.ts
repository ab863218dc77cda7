import { describe, expect, it } from 'vitest';
import { activity, CastReader, Timeline } from './cast';

const text = '{"version":2,"width":100,"height":30}\n[0.5,"o","h€"]\n[1,"o","ab"]\n[61,"r","120x40"]\n[62,"o","x"]\n[63,"o","cut';

function read(pieces: Uint8Array[]) {
  const reader = new CastReader();
  for (const piece of pieces) reader.push(piece);
  return reader.finish();
}

describe('cast', () => {
  it('reads pieces cut anywhere alike', () => {
    const bytes = new TextEncoder().encode(text);
    const whole = read([bytes]);
    expect(whole).toMatchObject({ cols: 100, rows: 30, duration: 62, unread: 1 });
    expect(whole.events[0]).toEqual([0.5, 'o', 'h€']);
    for (let cut = 1; cut < bytes.length; cut++) expect(read([bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual(whole);
  });

  it('skips idle stretches and finds the way back', () => {
    const cast = read([new TextEncoder().encode(text)]);
    const timeline = new Timeline(cast, 2);
    expect(timeline.events.map(([time]) => time)).toEqual([0.5, 1, 3, 4]);
    expect(timeline.duration).toBe(4);
    expect(timeline.played(61)).toBeCloseTo(3);
    expect(timeline.played(30)).toBeCloseTo(3);
    expect(timeline.real(3.5)).toBeCloseTo(61.5);
    expect(timeline.real(0.75)).toBeCloseTo(0.75);
    const plain = new Timeline(cast, null);
    expect(plain.played(30)).toBeCloseTo(30);
    expect(plain.duration).toBe(62);
  });

  it('draws activity', () => {
    const bars = activity({ duration: 10, events: [[1, 'o', 'xxxx'], [9.9, 'o', 'x'], [5, 'i', 'xxxxxxxxx']] }, 10);
    expect(bars[1]).toBe(1);
    expect(bars[9]).toBeGreaterThan(0);
    expect(bars[5]).toBe(0);
  });
});
