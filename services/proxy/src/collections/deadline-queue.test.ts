import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeadlineQueue } from './deadline-queue.js';
import type { DeadlineNode } from './deadline-queue.js';

class Node implements DeadlineNode {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly #name: string;
  readonly #expired: string[];

  constructor(name: string, expired: string[]) {
    this.#name = name;
    this.#expired = expired;
  }

  onDeadline(): void {
    this.#expired.push(this.#name);
  }
}

describe('a queue of deadlines', () => {
  const expired: string[] = [];
  const make = (name: string): Node => new Node(name, expired);
  beforeEach(() => {
    expired.length = 0;
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('expires each node once, when its time is up, in order', () => {
    const queue = new DeadlineQueue(100);
    queue.add(make('a'));
    vi.advanceTimersByTime(60);
    queue.add(make('b'));
    vi.advanceTimersByTime(39);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(2);
    expect(expired).toEqual(['a']);
    vi.advanceTimersByTime(60);
    expect(expired).toEqual(['a', 'b']);
    vi.advanceTimersByTime(1_000);
    expect(expired).toEqual(['a', 'b']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('starts again for a node that is added again', () => {
    const queue = new DeadlineQueue(100);
    const node = make('a');
    queue.add(node);
    vi.advanceTimersByTime(80);
    queue.add(node);
    vi.advanceTimersByTime(80);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(25);
    expect(expired).toEqual(['a']);
  });

  it('takes a node out of the queue that it lay in', () => {
    const soon = new DeadlineQueue(100);
    const late = new DeadlineQueue(500);
    const node = make('a');
    soon.add(node);
    late.add(node);
    vi.advanceTimersByTime(400);
    expect(expired).toEqual([]);
    vi.advanceTimersByTime(150);
    expect(expired).toEqual(['a']);
  });

  it('lets a node add itself again while it expires', () => {
    const queue = new DeadlineQueue(100);
    const node = make('a');
    node.onDeadline = () => {
      expired.push('again');
      if (expired.length < 3) queue.add(node);
    };
    queue.add(node);
    vi.advanceTimersByTime(1_000);
    expect(expired).toEqual(['again', 'again', 'again']);
  });

  it('is never for a duration of 0', () => {
    const queue = new DeadlineQueue(0);
    queue.add(make('a'));
    vi.advanceTimersByTime(1e9);
    expect(expired).toEqual([]);
  });
});
