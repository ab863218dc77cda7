// One line for whoever counts: `N passed, N failed`.
export default class Counts {
  #outcomes = new Map();

  onTestEnd(test) {
    this.#outcomes.set(test.id, test.outcome());
  }

  onEnd() {
    const all = [...this.#outcomes.values()];
    const failed = all.filter((outcome) => outcome === 'unexpected').length;
    const passed = all.filter((outcome) => outcome === 'expected' || outcome === 'flaky').length;
    const flaky = all.filter((outcome) => outcome === 'flaky').length;
    if (flaky) console.log(`\n${flaky} of them only at the second try`);
    console.log(`\n${passed} passed, ${failed} failed`);
  }
}
