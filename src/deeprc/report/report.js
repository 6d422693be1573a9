"use strict";
// The page is complete without this: it adds switching lines, reading values, zooming and sorting.

const ZOOM_LEVELS = [1, 2, 4, 8, 16];

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function dataOf(root) {
  return JSON.parse(root.querySelector('script[type="application/json"]').textContent);
}

// Puts the readout beside a point of the window, inside its figure.
function showReadout(root, nodes, clientX, clientY) {
  const readout = root.querySelector(".readout");
  const frame = readout.parentElement.getBoundingClientRect();
  readout.replaceChildren(...nodes);
  readout.hidden = false;
  const x = clientX - frame.left;
  const beside = x + 14 + readout.offsetWidth > frame.width ? x - 14 - readout.offsetWidth : x + 14;
  readout.style.left = `${clamp(beside, 0, Math.max(0, frame.width - readout.offsetWidth))}px`;
  readout.style.top = `${Math.max(0, clientY - frame.top - readout.offsetHeight / 2)}px`;
}

function addZoom(root) {
  const buttons = root.querySelectorAll("[data-zoom]");
  const viewport = root.querySelector(".viewport");
  const stretch = root.querySelector(".stretch");
  let level = 0;
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const focus = root.querySelector(".mark");
      const seen = viewport.scrollLeft + viewport.clientWidth / 2;
      const middle = (focus ? focus.offsetLeft + focus.offsetWidth / 2 : seen) / stretch.offsetWidth;
      level = clamp(level + (button.dataset.zoom === "in" ? 1 : -1), 0, ZOOM_LEVELS.length - 1);
      stretch.style.setProperty("--zoom", ZOOM_LEVELS[level]);
      root.toggleAttribute("data-zoomed", level > 0);
      viewport.scrollLeft = middle * stretch.offsetWidth - viewport.clientWidth / 2;
      for (const other of buttons) {
        other.disabled = other.dataset.zoom === "in" ? level === ZOOM_LEVELS.length - 1 : level === 0;
      }
    });
  }
}

function addSwitches(figure) {
  const boxes = [...figure.querySelectorAll("input[data-line]")];
  const lineOf = (box) => figure.querySelector(`path[data-line="${box.dataset.line}"]`);
  const apply = () => boxes.forEach((box) => lineOf(box).classList.toggle("off", !box.checked));
  for (const box of boxes) {
    const chip = box.closest("label");
    const pick = (on) => {
      figure.classList.toggle("picked", on);
      lineOf(box).classList.toggle("strong", on);
    };
    // The pointer over a name previews its line; after a click one sees what the click did.
    chip.addEventListener("pointerenter", () => pick(true));
    chip.addEventListener("pointerleave", () => pick(false));
    box.addEventListener("change", () => {
      pick(false);
      apply();
    });
  }
  const all = figure.querySelector("[data-all]");
  if (all) {
    all.addEventListener("click", () => {
      const pressed = all.getAttribute("aria-pressed") !== "true";
      all.setAttribute("aria-pressed", pressed);
      all.textContent = pressed ? "Show fewer" : "Show all";
      boxes.forEach((box) => { box.checked = pressed || box.hasAttribute("data-first"); });
      apply();
    });
  }
  apply();
}

function nearest(positions, share) {
  let low = 0;
  let high = positions.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (positions[middle] < share) low = middle; else high = middle;
  }
  return share - positions[low] < positions[high] - share ? low : high;
}

function addCursor(figure) {
  const data = dataOf(figure);
  const viewport = figure.querySelector(".viewport");
  const stretch = figure.querySelector(".stretch");
  const svg = figure.querySelector("svg[role]");
  const cursor = make("div", "cursor");
  let index = -1;
  if (!data.x.length) return;

  const shown = () => data.lines.filter((line, number) =>
    !figure.querySelector(`path[data-line="${number}"]`).classList.contains("off"));
  // The unit stands once beside the time, or at each value where panels have different ones.
  const units = new Set(data.lines.map((line) => line.unit));
  const heading = () => {
    const node = make("b", "", data.t[index]);
    if (units.size === 1) node.append(" ", make("small", "", [...units][0]));
    return node;
  };
  const lineNode = (line) => {
    const entry = make("div", line.style);
    const value = `${line.v[index]}${units.size > 1 ? ` ${line.unit}` : ""}`;
    entry.append(make("i"), make("span", "", line.name), make("em", "", value));
    return entry;
  };
  const show = (clientY) => {
    const box = svg.getBoundingClientRect();
    const left = box.left + data.x[index] * box.width;
    cursor.style.left = `${left - stretch.getBoundingClientRect().left}px`;
    stretch.append(cursor);
    const y = clientY ?? box.top + box.height / 2;
    const present = shown().filter((line) => line.v[index] !== null && line.v[index] !== undefined);
    showReadout(figure, [heading(), ...present.map(lineNode)], left, y);
  };
  const hide = () => {
    cursor.remove();
    figure.querySelector(".readout").hidden = true;
  };
  viewport.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    index = nearest(data.x, (event.clientX - box.left) / box.width);
    show(event.clientY);
  });
  viewport.addEventListener("pointerleave", hide);
  viewport.addEventListener("blur", hide);
  viewport.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -data.x.length, End: data.x.length };
    if (event.key === "Escape") hide();
    if (!(event.key in steps)) return;
    event.preventDefault();
    index = clamp(index + steps[event.key], 0, data.x.length - 1);
    viewport.scrollLeft = data.x[index] * stretch.offsetWidth - viewport.clientWidth / 2;
    show();
    const said = shown().map((line) => `${line.name} ${line.v[index] ?? "absent"}`);
    figure.querySelector(".spoken").textContent = `${data.t[index]}: ${said.join(", ")}`;
  });
}

function addTaskReadout(timeline) {
  const facts = dataOf(timeline);
  const viewport = timeline.querySelector(".viewport");
  let current = -1;
  const bars = (fact) => timeline.querySelectorAll(`[data-fact="${fact}"]`);
  const light = (fact) => {
    timeline.querySelectorAll(".lit").forEach((bar) => bar.classList.remove("lit"));
    if (fact >= 0) bars(fact).forEach((bar) => bar.classList.add("lit"));
  };
  const show = (fact, x, y) => {
    current = fact;
    light(fact);
    const { name, how, state } = facts[fact];
    showReadout(timeline, [make("b", "", name), make("span", "", how), make("br"), make("span", "", state)], x, y);
  };
  const hide = () => {
    light(-1);
    timeline.querySelector(".readout").hidden = true;
  };
  viewport.addEventListener("pointermove", (event) => {
    const bar = event.target.closest("[data-fact]");
    if (bar) show(Number(bar.dataset.fact), event.clientX, event.clientY); else hide();
  });
  viewport.addEventListener("pointerleave", hide);
  viewport.addEventListener("blur", hide);
  viewport.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -facts.length, End: facts.length };
    if (event.key === "Escape") hide();
    if (!(event.key in steps)) return;
    event.preventDefault();
    let next = current;
    do {
      next = clamp(next + Math.sign(steps[event.key]) * Math.min(Math.abs(steps[event.key]), facts.length), 0, facts.length - 1);
    } while (!bars(next).length && next > 0 && next < facts.length - 1);
    const bar = bars(next)[0];
    if (!bar) return;
    bar.scrollIntoView({ block: "nearest", inline: "center" });
    const box = bar.getBoundingClientRect();
    show(next, box.left + box.width / 2, box.bottom);
    timeline.querySelector(".spoken").textContent = Object.values(facts[next]).join(", ");
  });
}

function addSorting(table) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (!cell.classList.contains("number")) return cell.textContent;
    return "sort" in cell.dataset ? Number(cell.dataset.sort) : NaN;
  };
  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b);
    return a - b;
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
      const absent = rows.filter(([key]) => Number.isNaN(key));
      const present = rows.filter(([key]) => !Number.isNaN(key));
      present.sort(([a], [b]) => (up ? compare(a, b) : compare(b, a)));
      body.append(...[...present, ...absent].map(([, row]) => row));
    });
  });
}

for (const figure of document.querySelectorAll("[data-chart]")) {
  addSwitches(figure);
  addCursor(figure);
  addZoom(figure);
}
for (const timeline of document.querySelectorAll("[data-timeline]")) {
  addTaskReadout(timeline);
  addZoom(timeline);
}
document.querySelectorAll("table[data-sortable]").forEach(addSorting);
