// Light, dark or the system's. public/theme.js applies the choice before the first paint.

export type ThemeChoice = 'system' | 'light' | 'dark';
const KEY = 'sojourn.theme';
const system = matchMedia('(prefers-color-scheme: dark)');

function stored(): ThemeChoice {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

class Theme {
  choice = $state<ThemeChoice>(stored());
  #systemDark = $state(system.matches);

  constructor() {
    system.addEventListener('change', (event) => {
      this.#systemDark = event.matches;
      this.#apply();
    });
  }

  get dark(): boolean {
    return this.choice === 'system' ? this.#systemDark : this.choice === 'dark';
  }

  set(choice: ThemeChoice): void {
    this.choice = choice;
    try {
      if (choice === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Storage may be refused: the choice lasts for this page.
    }
    this.#apply();
  }

  toggle(): void {
    this.set(this.dark ? 'light' : 'dark');
  }

  #apply(): void {
    document.documentElement.classList.toggle('dark', this.dark);
  }
}

export const theme = new Theme();
