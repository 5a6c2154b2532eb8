// The graph of the flow: each step to the right of all that it waits for.

import { $, GLYPHS, make, makeButton, makeGlyph, write } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, ACROSS, DOWN, EDGE] = [176, 34, 52, 12, 12];

export class Graph {
  #choose;
  #status = null;
  #drawn = "";
  #nodes = new Map();
  #lines = [];
  #chosen = null;
  #fitting = null;

  constructor({ choose }) {
    this.#choose = choose;
    $("graph").addEventListener("keydown", (event) => this.#move(event));
  }

  show(status) {
    this.#status = status;
    this.draw();
  }

  mark(name) {
    this.#chosen = name;
    this.#update();
  }

  filter(names) {
    this.#fitting = names;
    this.#update();
  }

  draw() {
    if (this.#status === null || $("graph").hidden) return;
    const { steps } = this.#status;
    const shape = JSON.stringify(Object.entries(steps).map(([name, step]) => [name, step.depends_on]));
    if (shape !== this.#drawn) {
      this.#drawn = shape;
      this.#lay(steps);
    }
    this.#update();
  }

  #lay(steps) {
    const columns = columnsOf(steps);
    const tallest = Math.max(...columns.map((column) => column.length));
    const height = 2 * EDGE + tallest * (HEIGHT + DOWN) - DOWN;
    const width = 2 * EDGE + columns.length * (WIDTH + ACROSS) - ACROSS;
    const places = new Map();
    columns.forEach((column, x) => {
      const top = (height - column.length * (HEIGHT + DOWN) + DOWN) / 2;
      column.forEach((name, y) => places.set(name, [EDGE + x * (WIDTH + ACROSS), top + y * (HEIGHT + DOWN)]));
    });
    const canvas = make("div", "canvas");
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    canvas.append(this.#drawLines(steps, places, width, height));
    this.#nodes = new Map();
    for (const [name, [left, top]] of [...places].sort(([, a], [, b]) => a[0] - b[0] || a[1] - b[1])) {
      const node = makeButton("node", undefined, () => this.#choose(name));
      node.append(makeGlyph(), make("bdi", "", name), make("span", "hidden"));
      node.title = name;
      node.style.left = `${left}px`;
      node.style.top = `${top}px`;
      this.#nodes.set(name, node);
      canvas.append(node);
    }
    $("graph").replaceChildren(canvas);
  }

  #drawLines(steps, places, width, height) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-hidden", "true");
    this.#lines = [];
    for (const [name, step] of Object.entries(steps)) {
      for (const before of step.depends_on.filter((each) => places.has(each))) {
        const [x1, y1] = [places.get(before)[0] + WIDTH, places.get(before)[1] + HEIGHT / 2];
        const [x2, y2] = [places.get(name)[0], places.get(name)[1] + HEIGHT / 2];
        const line = document.createElementNS(SVG, "path");
        const bend = Math.max(24, (x2 - x1) / 2);
        line.setAttribute("d", `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`);
        this.#lines.push([line, before, name]);
        svg.append(line);
      }
    }
    return svg;
  }

  #update() {
    if (this.#status === null) return;
    for (const [name, node] of this.#nodes) {
      const step = this.#status.steps[name];
      if (!step) continue;
      node.dataset.state = step.state;
      write(node.firstElementChild, GLYPHS[step.state] ?? "?");
      write(node.lastElementChild, `, ${step.state}`);
      node.setAttribute("aria-pressed", String(name === this.#chosen));
      node.classList.toggle("faint", this.#fitting !== null && !this.#fitting.has(name));
    }
    for (const [line, before, name] of this.#lines) {
      line.dataset.state = this.#status.steps[before]?.state;
      line.classList.toggle("chosen", [before, name].includes(this.#chosen));
    }
  }

  #move(event) {
    const names = [...this.#nodes.keys()];
    const at = [...this.#nodes.values()].indexOf(event.target);
    if (at < 0) return;
    const { steps } = this.#status;
    const next = {
      ArrowDown: names[at + 1],
      ArrowUp: names[at - 1],
      ArrowLeft: steps[names[at]].depends_on.find((each) => this.#nodes.has(each)),
      ArrowRight: names.find((each) => steps[each].depends_on.includes(names[at])),
    }[event.key];
    if (next === undefined) return;
    this.#nodes.get(next).focus();
    event.preventDefault();
  }
}

// The names in columns; within one, those with the same origins come together.
function columnsOf(steps) {
  const level = new Map();
  const levelOf = (name, way) => {
    if (level.has(name)) return level.get(name);
    const before = steps[name].depends_on.filter((each) => each in steps && !way.has(each));
    const found = before.length ? 1 + Math.max(...before.map((each) => levelOf(each, new Set([...way, name])))) : 0;
    level.set(name, found);
    return found;
  };
  const columns = [];
  for (const name of Object.keys(steps)) (columns[levelOf(name, new Set())] ??= []).push(name);
  const place = new Map();
  columns.forEach((column, x) => {
    const middle = (name) => {
      const before = steps[name].depends_on.filter((each) => place.has(each));
      return before.length ? before.reduce((sum, each) => sum + place.get(each), 0) / before.length : Infinity;
    };
    if (x) column.sort((a, b) => middle(a) - middle(b) || 0);
    column.forEach((name, y) => place.set(name, (y + 0.5) / column.length));
  });
  return columns;
}
