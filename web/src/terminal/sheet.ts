// What xterm.js takes for its <style> elements (web/strict-styles.mjs puts it there): an element that has no text in the page
// and keeps a sheet that the document adopts for as long as it is in it. A policy of style-src 'self' allows that.

class Sheet extends HTMLElement {
  #sheet = new CSSStyleSheet();

  override get textContent() { return ''; }
  override set textContent(css: string) { this.#sheet.replaceSync(css); }

  connectedCallback() {
    this.hidden = true;
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.#sheet];
  }

  disconnectedCallback() { document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== this.#sheet); }
}

customElements.define('cchost-sheet', Sheet);
Object.assign(globalThis, { cchostSheet: () => document.createElement('cchost-sheet') });
