// Short notes on what was done, or what failed without changing the page.
import { describe } from '../api/client';

export interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

class Toasts {
  list = $state<Toast[]>([]);
  #next = 1;

  say(text: string, bad = false): void {
    const id = this.#next++;
    this.list.push({ id, text, bad });
    setTimeout(() => this.drop(id), bad ? 9000 : 4000);
  }

  fail(error: unknown): void {
    this.say(describe(error), true);
  }

  drop(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
