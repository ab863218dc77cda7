// The present, to the nearest ten seconds: relative times follow it together.

class Now {
  at = $state(Date.now());
  constructor() {
    setInterval(() => (this.at = Date.now()), 10_000);
  }
}

export const now = new Now();
