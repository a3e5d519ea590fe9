"use strict";
(() => {
  const button = document.getElementById("theme");
  const tell = dark => { button.setAttribute("aria-pressed", String(dark)); };
  tell(Theme.dark);
  Theme.listeners.push(tell);
  button.addEventListener("click", () => Theme.choose(!Theme.dark));

  // navigator.clipboard is not there in every frame, and a page on a disk may be refused.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.style.position = "fixed";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }
  for (const each of document.querySelectorAll(".copy")) {
    each.addEventListener("click", async () => {
      const done = await copy(each.parentElement.querySelector("code").textContent);
      each.textContent = done ? "Copied" : "Not copied";
      each.focus();
      setTimeout(() => { each.textContent = "Copy"; }, 2000);
    });
  }

  // The section that is being read is marked in the list of sections.
  const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
  const seen = new Set();
  const watch = new IntersectionObserver(entries => {
    for (const {target, isIntersecting} of entries) if (isIntersecting) seen.add(target.id); else seen.delete(target.id);
    const first = [...links.keys()].find(name => seen.has(name));
    for (const [name, link] of links) if (name === first) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }, {rootMargin: "-10% 0px -70% 0px"});
  for (const name of links.keys()) watch.observe(document.getElementById(name));

  // The buttons of a chart are one stop of the Tab key; the arrows go from one to the next.
  function oneStop(place) {
    const bar = place.querySelector(".modebar");
    if (!bar || bar.querySelectorAll("button:not([tabindex='-1'])").length === 1) return;
    bar.setAttribute("role", "toolbar");
    bar.setAttribute("aria-label", `Tools of the chart ${place.closest("figure").querySelector("h3").textContent}`);
    bar.querySelectorAll("button").forEach((button, at) => { button.tabIndex = at ? -1 : 0; });
  }
  const drawn = new MutationObserver(records => {
    for (const {target} of records) {
      oneStop(target);
      target.on("plotly_afterplot", () => oneStop(target)); // another width may bring other buttons
    }
  });
  for (const place of Charts.places) drawn.observe(place, {attributeFilter: ["data-drawn"]});
  const STEPS = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  document.getElementById("content").addEventListener("keydown", event => {
    const bar = event.target.closest(".modebar");
    if (!bar || !(event.key in STEPS)) return;
    event.preventDefault();
    const buttons = [...bar.querySelectorAll("button")];
    const next = buttons.at((buttons.indexOf(event.target) + STEPS[event.key]) % buttons.length);
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
})();
