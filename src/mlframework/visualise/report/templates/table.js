"use strict";
// The table of trials: sorted and filtered here, a hundred rows at a time.
const Trials = (() => {
  const source = document.getElementById("data-trials");
  if (!source) return null;
  const {columns, rows, best} = JSON.parse(source.textContent);
  const STEP = 100, PRINTED = 200;
  const input = document.getElementById("filter");
  const said = document.getElementById("rows-shown");
  const more = document.getElementById("more-rows"), all = document.getElementById("all-rows");
  const at = Object.fromEntries(columns.map((column, number) => [column.key, number]));
  // A column is found by its key, its heading, or the last part of its key.
  const names = new Map();
  columns.forEach((column, number) => {
    for (const name of [column.key.split(".").pop(), column.label, column.key]) names.set(name.toLowerCase(), number);
  });
  const table = document.createElement("table");
  const body = document.createElement("tbody");
  let sorted = {column: null, down: false}, limit = STEP, brushed = null, shown = rows;

  function heading(column, number) {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (column.key === "reason") cell.className = "reason";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.label;
    button.title = column.key;
    button.addEventListener("click", () => {
      sorted = {column: number, down: sorted.column === number ? !sorted.down : false};
      limit = STEP;
      show();
    });
    cell.append(button);
    return cell;
  }

  // What has no value is last, however the others are sorted.
  function compare(a, b) {
    const x = a[sorted.column], y = b[sorted.column];
    if (x === null || y === null) return (x === null) - (y === null);
    const order = columns[sorted.column].number ? x - y : String(x).localeCompare(String(y), undefined, {numeric: true});
    return sorted.down ? -order : order;
  }

  // A heading may have spaces, and so may the room around a sign; the longest heading counts.
  const escaped = [...names.keys()].sort((a, b) => b.length - a.length).map(name => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const COMPARED = new RegExp(`(${[...escaped, "[^\\s<>=!]+"].join("|")})\\s*(<=|>=|!=|=|<|>)\\s*(\\S*)`, "iy");

  // Returns what a row has to pass, and what cannot be understood, which keeps no row back.
  function understood(text) {
    const kept = [], faults = [];
    for (let start = 0; start < text.length;) {
      COMPARED.lastIndex = start;
      const found = COMPARED.exec(text);
      const part = found ? found[0] : /^\S*/.exec(text.slice(start))[0];
      if (part) {
        const [keeps, fault] = found ? comparison(found) : [has(part), null];
        if (fault) faults.push(fault); else kept.push(keeps);
      }
      start += Math.max(1, part.length);
    }
    return [kept, faults];
  }

  function has(text) {
    const wanted = text.toLowerCase();
    return row => row.some(cell => cell !== null && String(cell).toLowerCase().includes(wanted));
  }

  function comparison([text, name, sign, wanted]) {
    const number = names.get(name.toLowerCase());
    if (number === undefined) return rows.some(has(text)) ? [has(text), null] : [null, `no column ${name}`];
    if (wanted === "") return [null, `${name}${sign} lacks a value`];
    const isNumber = columns[number].number;
    const value = isNumber ? Number(wanted) : wanted.toLowerCase();
    if (Number.isNaN(value)) return [null, `${name}${sign} takes a number, not ${wanted}`];
    return [row => {
      const cell = row[number];
      if (cell === null) return sign === "!=";
      const own = isNumber ? cell : String(cell).toLowerCase();
      switch (sign) {
        case "<": return own < value;
        case ">": return own > value;
        case "<=": return own <= value;
        case ">=": return own >= value;
        case "!=": return own !== value;
        default: return own === value;
      }
    }, null];
  }

  function line(row) {
    const made = document.createElement("tr");
    row.forEach((cell, number) => {
      const place = document.createElement("td");
      place.textContent = cell === null ? "" : typeof cell === "number" && !Number.isInteger(cell) ? String(+cell.toPrecision(6)) : String(cell);
      if (columns[number].number) place.className = "number";
      if (columns[number].key === "reason") place.className = "reason";
      made.append(place);
    });
    if (row[at.number] === best) {
      made.className = "best";
      made.cells[at.number].append(" ★");
      made.cells[at.number].title = "the best";
    }
    return made;
  }

  function show() {
    const [terms, faults] = understood(input.value.trim());
    shown = rows.filter(row => (!brushed || brushed.has(row[at.number])) && terms.every(keeps => keeps(row)));
    if (sorted.column !== null) shown = [...shown].sort(compare);
    body.replaceChildren(...shown.slice(0, limit).map(line));
    [...table.tHead.rows[0].cells].forEach((cell, number) => {
      if (number === sorted.column) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    const word = rows.length === 1 ? "trial" : "trials";
    const many = shown.length === rows.length ? `${rows.length} ${word}` : `${shown.length} of ${rows.length} ${word}`;
    said.textContent = [shown.length > limit ? `${many}, the first ${limit} are shown` : many, ...faults].join("; ");
    more.hidden = all.hidden = shown.length <= limit;
    more.textContent = `Show ${Math.min(STEP, shown.length - limit)} more`;
  }

  const head = table.createTHead().insertRow();
  head.append(...columns.map(heading));
  table.append(body);
  document.getElementById("trials-table").append(table);
  // Who types fast is answered once a frame, and not once a key.
  let answered = false, waiting = false;
  function answer() {
    limit = STEP;
    waiting = answered;
    if (waiting) return;
    answered = true;
    show();
    requestAnimationFrame(() => { answered = false; if (waiting) answer(); });
  }
  input.addEventListener("input", answer);
  document.getElementById("unfilter").addEventListener("click", () => { input.value = ""; limit = STEP; show(); input.focus(); });
  more.addEventListener("click", () => { limit += STEP; show(); });
  all.addEventListener("click", () => { limit = Infinity; show(); });
  let before = null;
  addEventListener("beforeprint", () => { before = limit; limit = PRINTED; show(); });
  addEventListener("afterprint", () => { if (before !== null) { limit = before; show(); } });
  show();
  return {columns, rows, brush(numbers) { brushed = numbers; limit = STEP; show(); }};
})();
