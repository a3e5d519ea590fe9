"use strict";
// Charts are drawn when they come into sight, and the rest while the page is idle. plotly.js is unpacked for the first one.
const Charts = (() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const places = [...document.querySelectorAll(".plot")];
  const drawn = new Map();  // a chart's place to the promise that it is drawn
  const NARROW = 560, PRINTED = 680;
  const DATA = new Set(["x", "y", "z", "text", "hovertext", "customdata", "name", "hovertemplate", "ticktext", "categoryarray"]);
  let unpacked = null;

  // Whoever types or scrolls is answered first: each long piece of work waits until the page is idle, though not for long.
  const idle = window.requestIdleCallback ?? (work => setTimeout(work, 60));
  const pause = () => new Promise(go => { idle(go, {timeout: 400}); });

  async function unpack() {
    await pause();
    const letters = atob(document.getElementById("plotly").textContent);
    const bytes = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    await pause();
    document.head.append(script);
    script.remove();
    await pause();
  }

  // Texts that the mouse shows stand in the page once: a figure has their numbers, each with how often it follows.
  function filled(trace) {
    if (!trace.hovertext || !trace.hovertext.pool) return trace;
    const texts = trace.hovertext.pool.flatMap(([number, times]) => Array(times).fill(settings.texts[number]));
    return {...trace, hovertext: texts};
  }

  function coloured(value, dark) {
    if (!dark) return value;
    if (typeof value === "string") return settings.dark[value] ?? value;
    if (Array.isArray(value)) return value.map(each => coloured(each, dark));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, DATA.has(key) ? inner : coloured(inner, dark)]));
    }
    return value;
  }

  function figure(place) {
    return JSON.parse(document.getElementById(`data-${place.dataset.chart}`).textContent);
  }

  // On a narrow page panels stand below one another, and a legend below them or above them, where it has the whole width.
  function fitted({layout, stacked, ...rest}, narrow) {
    if (!narrow) return {layout, ...rest};
    const found = {...layout};
    for (const [axis, domain] of Object.entries(stacked ?? {})) found[axis] = {...found[axis], domain};
    if (layout.legend?.orientation === "v") {
      const title = layout.legend.title && {...layout.legend.title, side: "top left"};
      found.legend = {...layout.legend, title, orientation: "h", x: 0, xanchor: "left", y: 0, yref: "container", yanchor: "bottom"};
    } else if (stacked) {
      found.legend = {...layout.legend, x: 0, xanchor: "left", y: 1, yref: "container", yanchor: "top"};
      found.margin = {...layout.margin, t: layout.margin.t + 30};
    }
    return {layout: found, ...rest};
  }

  function layoutFor(place, {data, layout}, dark, width) {
    const narrow = width < NARROW;
    const small = place.closest(".small-charts") !== null;
    const template = coloured(structuredClone(settings.template), dark);
    const size = narrow || small ? 11.5 : 13;
    const named = layout.xaxis?.title?.text;
    const legend = layout.showlegend !== false && data.filter(trace => trace.name && trace.showlegend !== false).length > 1;
    const margin = {l: narrow || small ? 52 : 66, r: narrow || small ? 14 : 30, t: legend ? 40 : 14, b: named ? 52 : 34, ...layout.margin};
    for (const axis of [template?.layout?.xaxis, template?.layout?.yaxis]) if (axis) axis.title = {...axis.title, font: {size}};
    return {
      ...coloured(layout, dark), template, margin, width, height: place.clientHeight, autosize: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {size},
      hoverlabel: {font: {size: 12}}, dragmode: narrow ? false : "zoom",
    };
  }

  function draw(place) {
    if (!drawn.has(place)) drawn.set(place, begin(place));
    return drawn.get(place);
  }

  async function begin(place) {
    try {
      unpacked ??= unpack();
      await unpacked;
    } catch {
      place.classList.add("unable");
      return;
    }
    render(place, Theme.dark, place.clientWidth);
    place.dataset.drawn = "yes";
    await pause();
  }

  function render(place, dark, width) {
    const found = fitted(figure(place), width < NARROW);
    const traces = found.data.map(trace => coloured(filled(trace), dark));
    const config = {...settings.config, displayModeBar: width < NARROW ? false : "hover"};
    return Plotly.react(place, traces, layoutFor(place, found, dark, width), config);
  }

  function redraw(dark, width) {
    for (const place of drawn.keys()) if (place.dataset.drawn) render(place, dark, width ?? place.clientWidth);
  }

  const inSight = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { inSight.unobserve(entry.target); draw(entry.target); }
  }, {rootMargin: "300px"});
  for (const place of places) inSight.observe(place);

  // A chart at a time, so that the page answers in between; who prints finds them all.
  function rest() {
    const next = places.find(place => !drawn.has(place));
    if (next) draw(next).then(() => idle(rest));
    else Promise.all(drawn.values()).then(() => { document.documentElement.dataset.charts = "drawn"; });
  }
  addEventListener("load", () => idle(rest));

  let widths = document.documentElement.clientWidth, timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.documentElement.clientWidth !== widths) { widths = document.documentElement.clientWidth; redraw(Theme.dark); }
    }, 120);
  });
  Theme.listeners.push(dark => redraw(dark));

  let before = null;
  addEventListener("beforeprint", () => {
    before = Theme.dark;
    document.documentElement.dataset.theme = "light";
    for (const place of drawn.keys()) {
      if (place.dataset.drawn) render(place, false, place.closest(".small-charts") ? PRINTED / 2 - 12 : PRINTED);
    }
  });
  addEventListener("afterprint", () => { if (before !== null) Theme.show(before); before = null; });

  return {settings, places, figure: name => figure({dataset: {chart: name}}), filled};
})();
