import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { live } from './live.svelte';

/** The streams that were opened, and whether they still are. */
let streams: Stream[] = [];
let page: EventTarget & { hidden: boolean };

class Stream extends EventTarget {
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  open = true;
  constructor(readonly url: string) {
    super();
    streams.push(this);
  }
  close(): void {
    this.open = false;
  }
}

function show(shown: boolean): void {
  page.hidden = !shown;
  page.dispatchEvent(new Event('visibilitychange'));
}

const open = () => streams.filter((stream) => stream.open).length;

beforeEach(() => {
  vi.useFakeTimers();
  streams = [];
  page = Object.assign(new EventTarget(), { hidden: false });
  vi.stubGlobal('document', page);
  vi.stubGlobal('EventSource', Stream);
  live.start();
  streams[0]!.onopen!();
});

afterEach(() => {
  live.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

describe('the live stream', () => {
  it('is given back by a page that nobody sees, and taken again with what was missed', () => {
    const epoch = live.epoch;
    show(false);
    expect(open()).toBe(1);
    vi.advanceTimersByTime(60_000);
    expect(open()).toBe(0);
    show(true);
    expect(open()).toBe(1);
    expect(live.state).toBe('reconnecting');
    streams.at(-1)!.onopen!();
    expect(live.state).toBe('live');
    expect(live.epoch).toBe(epoch + 1);
  });

  it('brings the lists up to date where it was never open before', () => {
    live.stop();
    page.hidden = true;
    live.start();
    const epoch = live.epoch;
    vi.advanceTimersByTime(60_000);
    show(true);
    streams.at(-1)!.onopen!();
    expect(live.epoch).toBe(epoch + 1);
  });

  it('is kept through a short look at another page', () => {
    show(false);
    vi.advanceTimersByTime(1000);
    show(true);
    vi.advanceTimersByTime(60_000);
    expect(streams.length).toBe(1);
    expect(open()).toBe(1);
  });

  it('is not opened again for a page that nobody sees, or that has logged out', () => {
    streams[0]!.onerror!();
    show(false);
    vi.advanceTimersByTime(600_000);
    expect(open()).toBe(0);
    const opened = streams.length;
    live.stop();
    show(true);
    vi.advanceTimersByTime(600_000);
    expect(streams.length).toBe(opened);
  });
});
