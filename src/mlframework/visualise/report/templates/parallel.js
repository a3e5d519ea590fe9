"use strict";
// Parallel coordinates with brushes: drag along an axis to keep the trials that pass there.
(() => {
  const source = document.getElementById("data-parallel");
  if (!source) return;
  const {axes, lines} = JSON.parse(source.textContent);
  const place = document.getElementById("parallel-lines"), reads = document.getElementById("parallel-reads");
  const about = document.querySelector(".brushes"), undo = document.getElementById("unbrush");
  const SPACE = "http://www.w3.org/2000/svg", LOWEST = -0.14, TOP = 46, HEIGHT = 420, BOTTOM = 22, LEAST = 96, HALF = 18;
  const lacking = axes.some(axis => axis.ticks.some(([height]) => height < 0));
  const low = lacking ? LOWEST : 0;
  const y = height => TOP + (1 - (height - low) / (1 - low)) * (HEIGHT - TOP - BOTTOM);
  const brushes = new Map();
  let paths = [], svg = null, left = 0, step = 0;

  function made(name, attributes, text) {
    const element = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function track(heights) {
    let text = "", pen = "M";
    heights.forEach((height, number) => {
      if (height === null) { pen = "M"; return; }
      text += `${pen}${(left + number * step).toFixed(1)} ${y(height).toFixed(1)}`;
      pen = "L";
    });
    return text;
  }

  // Between two of the page's colours, which are others on a dark page.
  function colour(goodness) {
    return goodness < .5
      ? `color-mix(in oklab, var(--worst), var(--middle) ${Math.round(30 + goodness * 140)}%)`
      : `color-mix(in oklab, var(--middle), var(--best) ${Math.round((goodness - .5) * 200)}%)`;
  }

  function draw() {
    const longest = Math.max(...axes[0].ticks.map(([, text]) => text.length), 2);
    left = 14 + Math.min(150, longest * 7);
    // The last axis's name ends 40 pixels to the right of it.
    const right = Math.max(44, 16 + Math.min(120, Math.max(...axes.at(-1).ticks.map(([, text]) => text.length)) * 7.5));
    const width = Math.max(place.parentElement.clientWidth, left + right + LEAST * (axes.length - 1));
    step = (width - left - right) / Math.max(1, axes.length - 1);
    svg = made("svg", {width, height: HEIGHT, "aria-hidden": "true"});
    const many = lines.length > 200;
    paths = lines.map(([number, kind, goodness, ...heights]) => {
      const path = made("path", {d: track(heights), class: `${kind}${many ? " many" : ""}`});
      if (kind === "complete") path.style.stroke = colour(goodness);
      return {path, number, kind, heights};
    });
    svg.append(...paths.map(each => each.path));
    axes.forEach((axis, number) => svg.append(...ruler(axis, number)));
    place.replaceChildren(svg);
    keep();
  }

  function ruler(axis, number) {
    const x = left + number * step, last = number === axes.length - 1;
    const found = [made("line", {x1: x, x2: x, y1: y(1), y2: y(0)})];
    // Names that are longer than the way to the next axis stand in two rows by turns.
    const crowded = axes.some(each => each.label.length * 8 > step);
    const anchor = number === 0 ? "start" : last ? "end" : "middle";
    const from = number === 0 ? x - left + 4 : last ? x + 90 : x;
    found.push(made("text", {x: last ? Math.min(from, x + 40) : from, y: crowded && number % 2 ? 32 : 16, "text-anchor": anchor, class: "name"}, axis.label));
    for (const [height, text] of axis.ticks) {
      found.push(made("text", {x: last ? x + 7 : x - 7, y: y(height) + 4, "text-anchor": last ? "start" : "end"}, text));
    }
    const brush = made("rect", {x: x - 8, width: 16, y: 0, height: 0, class: "brush", visibility: "hidden"});
    const grip = made("rect", {x: x - HALF, width: 2 * HALF, y: TOP - 8, height: HEIGHT - TOP - BOTTOM + 16, class: "grip", "data-axis": number});
    found.push(brush, grip);
    grip.addEventListener("pointerdown", event => drag(event, grip, number));
    return found;
  }

  const heightAt = event => {
    const inside = event.clientY - svg.getBoundingClientRect().top;
    return Math.max(low - .05, Math.min(1.05, low + (1 - low) * (1 - (inside - TOP) / (HEIGHT - TOP - BOTTOM))));
  };

  function drag(event, grip, axis) {
    const start = heightAt(event);
    grip.setPointerCapture(event.pointerId);
    const move = moved => { brushes.set(axis, [Math.min(start, heightAt(moved)), Math.max(start, heightAt(moved))]); keep(); };
    const stop = ended => {
      // A click without a drag takes the axis's brush off.
      if (Math.abs(heightAt(ended) - start) < .01) brushes.delete(axis);
      grip.removeEventListener("pointermove", move);
      keep();
    };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("pointerup", stop, {once: true});
  }

  function keep() {
    const kept = new Set();
    for (const {path, number, heights} of paths) {
      const stays = [...brushes].every(([axis, [from, to]]) => heights[axis] !== null && heights[axis] >= from && heights[axis] <= to);
      path.classList.toggle("off", !stays);
      path.style.display = "";
      if (stays) kept.add(number);
    }
    svg.querySelectorAll("rect.brush").forEach((rect, axis) => {
      const range = brushes.get(axis);
      rect.setAttribute("visibility", range ? "visible" : "hidden");
      if (range) { rect.setAttribute("y", y(Math.min(1.03, range[1]))); rect.setAttribute("height", y(range[0]) - y(Math.min(1.03, range[1]))); }
    });
    about.hidden = brushes.size === 0;
    about.querySelector("span").textContent = `${kept.size} of ${paths.length} trials are brushed; the table shows those.`;
    if (Trials) Trials.brush(brushes.size ? kept : null);
  }

  function say(number) {
    const row = Trials && Trials.rows.find(each => each[0] === number);
    reads.textContent = row
      ? Trials.columns.map((column, at) => [column.label, row[at]]).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`).join(", ")
      : "\u00a0";
  }

  // The line that is nearest to the mouse is read out below.
  place.addEventListener("pointermove", event => {
    if (event.buttons || !svg) return;
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left - left) / step, inside = event.clientY - box.top;
    const from = Math.max(0, Math.min(axes.length - 2, Math.floor(at))), share = at - from;
    let nearest = null, distance = 12;
    for (const each of paths) {
      const a = each.heights[from], b = each.heights[from + 1];
      if (each.path.classList.contains("off") || a == null || b == null) continue;
      const apart = Math.abs(y(a + share * (b - a)) - inside);
      if (apart < distance) { nearest = each; distance = apart; }
    }
    for (const each of paths) each.path.classList.toggle("pointed", each === nearest);
    say(nearest ? nearest.number : null);
  });
  place.addEventListener("pointerleave", () => { for (const each of paths) each.path.classList.remove("pointed"); say(null); });
  undo.addEventListener("click", () => { brushes.clear(); keep(); document.getElementById("filter")?.focus({preventScroll: true}); });

  // Not before it comes into sight, or the page is idle: the reader of the first lines need not wait for a thousand.
  let width = 0;
  const begin = () => {
    if (svg) return;
    inSight.disconnect();
    width = place.parentElement.clientWidth;
    draw();
    new ResizeObserver(() => {
      if (place.parentElement.clientWidth !== width) { width = place.parentElement.clientWidth; draw(); }
    }).observe(place.parentElement);
  };
  const inSight = new IntersectionObserver(entries => { if (entries.some(entry => entry.isIntersecting)) begin(); }, {rootMargin: "300px"});
  inSight.observe(place.parentElement);
  addEventListener("load", () => setTimeout(begin, 1500));
  addEventListener("beforeprint", () => { begin(); svg.setAttribute("viewBox", `0 0 ${svg.getAttribute("width")} ${HEIGHT}`); svg.style.maxWidth = "100%"; svg.style.height = "auto"; });
})();
