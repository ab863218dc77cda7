// The terminal writes its colours and sizes into <style> elements, which the page's policy forbids. It is given a
// document whose style elements are constructed sheets instead: the same rules, by a way the policy knows.
// (The colours that it writes into style attributes are seen to by the build, in vite.config.ts.)

function sheetElement(): HTMLElement {
  const sheet = new CSSStyleSheet();
  const element = document.createElement('span');
  element.hidden = true;
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  let text = '';
  const remove = element.remove.bind(element);
  Object.defineProperties(element, {
    textContent: {
      get: () => text,
      set: (value: string) => {
        text = value;
        sheet.replaceSync(value);
      },
    },
    remove: {
      value: () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((known) => known !== sheet);
        remove();
      },
    },
  });
  return element;
}

function create(name: string, options?: ElementCreationOptions): HTMLElement {
  return name === 'style' ? sheetElement() : document.createElement(name, options);
}

export function styleSafeDocument(): Document {
  return new Proxy(document, {
    get(target, key) {
      if (key === 'createElement') return create;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
}

/** While `act` runs, the page's own document makes constructed sheets as well: the terminal's scroll bar asks it, and
 *  not the document that it was given. */
export function withSafeSheets(act: () => void): void {
  const make = Document.prototype.createElement;
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    if (name !== 'style') return make.call(document, name, options);
    return sheetElement();
  }) as typeof document.createElement;
  try {
    act();
  } finally {
    delete (document as Partial<Document>).createElement;
  }
}
