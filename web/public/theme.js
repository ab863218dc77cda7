// Before the first paint, so that a chosen theme never flashes. The rest lives in src/lib/theme.svelte.ts.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem('sojourn.theme');
  } catch (_) {
    // Storage may be refused; the system's theme applies.
  }
  var dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.classList.toggle('dark', dark);
})();
