"use strict";
// Before anything is drawn: what the reader chose, else what the system is set to.
const Theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),
  listeners: [],
  chosen() {
    try { return localStorage.getItem("mlframework-theme"); } catch { return null; } // a page in a frame may keep nothing
  },
  get dark() { return document.documentElement.dataset.theme === "dark"; },
  show(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    for (const listener of this.listeners) listener(dark);
  },
  choose(dark) {
    try { localStorage.setItem("mlframework-theme", dark ? "dark" : "light"); } catch { /* it holds until the page is closed */ }
    this.show(dark);
  },
};
Theme.show(Theme.chosen() === null ? Theme.system.matches : Theme.chosen() === "dark");
Theme.system.addEventListener("change", event => { if (Theme.chosen() === null) Theme.show(event.matches); });
