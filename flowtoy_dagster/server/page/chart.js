// The steps as a time chart: a row for each, with its attempts and waits, filtered and in order.

import { $, fillBar, GLYPHS, make, makeButton, makeGlyph, number, span, STEP_STATES, write } from "./dom.js";

const ITEM_STATES = ["failed", "succeeded", "skipped", "pending"]; // what is left has no words
const MANY = 40; // steps of which the failed ones come first by themselves
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];

export const endedItems = (items) => items.succeeded + items.failed + items.skipped;

export function itemsText(items) {
  const told = [`${number(endedItems(items))} of ${number(items.total)} items`];
  for (const state of ["failed", "skipped", "reused"]) {
    if (items[state]) told.push(`${number(items[state])} ${state}`);
  }
  return told.join(" · ");
}

function warnings(step) {
  const count = step.warnings?.length ?? 0;
  return count ? `${count} ${count === 1 ? "warning" : "warnings"}` : "";
}

export class Chart {
  #rows = new Map();
  #status = null;
  #choose;
  #now;
  #only = new Set();
  #listed = "";
  #drawnAt = 0;

  constructor({ choose, now }) {
    this.#choose = choose;
    this.#now = now;
    $("filter").addEventListener("input", () => this.#arrange());
    $("order").addEventListener("change", () => this.#arrange());
    $("steps").addEventListener("keydown", (event) => this.#move(event));
    for (const state of STEP_STATES) {
      const chip = makeButton("chip", "", () => this.#toggle(state));
      chip.dataset.state = state;
      $("states").append(chip);
    }
  }

  clear() {
    this.#rows.clear();
    this.#status = null;
    this.#listed = "";
    this.#only.clear();
    $("steps").replaceChildren();
  }

  show(status) {
    if (this.#status === null) $("order").value = status.total_steps > MANY ? "failed" : "file";
    this.#status = status;
    for (const name of Object.keys(status.steps)) {
      if (!this.#rows.has(name)) this.#rows.set(name, new Row(name, () => this.#choose(name)));
      this.#rows.get(name).update(status.steps[name]);
    }
    this.#showChips();
    this.#arrange();
  }

  rowOf(name) {
    const row = this.#rows.get(name);
    return row && row.item.isConnected ? row.item : null;
  }

  // Mark the chosen step; `jump` also brings it into view.
  mark(name, jump) {
    if (jump && name !== null && !this.shownNames().has(name)) this.clearFilter();
    for (const [each, row] of this.#rows) row.mark(each === name);
    const button = jump ? this.rowOf(name)?.querySelector("button") : null;
    button?.focus({ preventScroll: true });
    button?.scrollIntoView({ block: "center" });
  }

  showOnly(state) {
    $("filter").value = "";
    this.#only = new Set([state]);
    this.#showChips();
    this.#arrange();
  }

  clearFilter() {
    $("filter").value = "";
    this.#only.clear();
    this.#showChips();
    this.#arrange();
  }

  shownNames() {
    const words = $("filter").value.trim().toLowerCase();
    const fits = ([name, step]) =>
      (!this.#only.size || this.#only.has(step.state)) &&
      (!words || `${name}\n${step.notes[0] ?? ""}`.toLowerCase().includes(words));
    return new Set(Object.entries(this.#status?.steps ?? {}).filter(fits).map(([name]) => name));
  }

  #toggle(state) {
    if (!this.#only.delete(state)) this.#only.add(state);
    this.#showChips();
    this.#arrange();
    $("filter").dispatchEvent(new Event("input"));
  }

  #showChips() {
    const steps = Object.values(this.#status?.steps ?? {});
    for (const chip of $("states").children) {
      const state = chip.dataset.state;
      const count = steps.filter((step) => step.state === state).length;
      chip.hidden = !count && !this.#only.has(state);
      chip.setAttribute("aria-pressed", String(this.#only.has(state)));
      write(chip, `${number(count)} ${state}`);
    }
  }

  // The rows that fit the filter, in the order that is wanted; they are moved only where it changes.
  #arrange() {
    if (this.#status === null) return;
    const shown = this.shownNames();
    const all = Object.keys(this.#status.steps);
    const names = this.#sorted(all.filter((name) => shown.has(name)));
    write($("none"), `None of the ${number(all.length)} steps matches. Esc clears the filter.`);
    $("none").hidden = names.length > 0;
    const listed = names.join("\n");
    if (listed === this.#listed) return;
    this.#listed = listed;
    const focused = document.activeElement;
    $("steps").replaceChildren(...names.map((name) => this.#rows.get(name).item));
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    this.draw(true);
  }

  #sorted(names) {
    const { steps } = this.#status;
    const order = $("order").value;
    if (order === "file") return names;
    const rank = (name) => ({ failed: 0, running: 1 })[steps[name].state] ?? 2;
    const length = (name) => lengthOf(steps[name], this.#now());
    const compare = order === "failed" ? (a, b) => rank(a) - rank(b) : (a, b) => length(b) - length(a);
    return [...names].sort(compare);
  }

  #move(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("button.row");
    if (!by || !row) return;
    const buttons = [...$("steps").querySelectorAll("button.row")];
    const next = buttons[buttons.indexOf(row) + by];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
    event.preventDefault();
  }

  // Time

  draw(must = false) {
    const status = this.#status;
    if (status === null || $("chart").hidden) return;
    if (status.started_at === null) {
      $("axis").firstElementChild.replaceChildren();
      return;
    }
    // Hundreds of rows cost the machine more than a bar that is a second behind.
    if (!must && this.#rows.size > 150 && Date.now() - this.#drawnAt < 900) return;
    this.#drawnAt = Date.now();
    const begin = status.started_at;
    const end = Math.max(status.ended_at ?? this.#now(), begin + 0.1);
    for (const row of this.#rows.values()) if (row.item.isConnected) row.draw(begin, end);
    drawAxis(end - begin);
  }
}

const lengthOf = (step, now) => (step.started_at === null ? -1 : (step.ended_at ?? now) - step.started_at);

class Row {
  #step = null;

  constructor(name, choose) {
    this.item = make("li", "step");
    this.button = makeButton("row", undefined, choose);
    this.button.setAttribute("aria-expanded", "false");
    const title = make("span", "name");
    title.title = name;
    this.glyph = makeGlyph();
    title.append(this.glyph, make("bdi", "", name));
    const told = make("span", "told");
    this.word = make("span", "word");
    this.took = make("span", "took");
    this.attempt = make("span", "attempt");
    told.append(this.word, this.took, this.attempt);
    this.lane = make("span", "lane");
    this.lane.setAttribute("aria-hidden", "true");
    this.items = make("span", "items");
    this.itemBar = make("span", "bar");
    this.itemBar.setAttribute("role", "progressbar");
    this.itemBar.setAttribute("aria-label", `Items of ${name} that have ended`);
    this.itemBar.setAttribute("aria-valuemin", "0");
    this.itemWords = make("span");
    this.items.append(this.itemBar, this.itemWords);
    this.why = make("span", "why");
    this.button.append(title, told, this.lane, this.why);
    this.item.append(this.button, this.items);
  }

  mark(isChosen) {
    this.button.setAttribute("aria-expanded", String(isChosen));
    if (isChosen) this.button.setAttribute("aria-controls", "panel");
    else this.button.removeAttribute("aria-controls");
    this.item.classList.toggle("chosen", isChosen);
  }

  update(step) {
    if (this.#step !== null && JSON.stringify(this.#step) === JSON.stringify(step)) return;
    this.#step = step;
    this.item.dataset.state = step.state;
    write(this.glyph, GLYPHS[step.state] ?? "?");
    write(this.word, step.state);
    write(this.attempt, step.attempt > 1 ? `attempt ${step.attempt}` : "");
    // Why steps failed is shown above all steps, and with the chosen one.
    write(this.why, step.state === "skipped" ? step.notes[0] ?? "" : step.waits_for || warnings(step));
    this.items.hidden = !step.items;
    if (step.items) {
      const left = step.items.total - endedItems(step.items);
      fillBar(this.itemBar, ITEM_STATES, { ...step.items, pending: left }, endedItems(step.items));
      write(this.itemWords, itemsText(step.items));
    }
  }

  draw(begin, end) {
    const step = this.#step;
    const reused = step.ended_at !== null && step.ended_at < begin && step.state === "succeeded";
    const started = step.started_at !== null && !reused;
    write(this.took, reused ? "in the previous run" : started ? span(lengthOf(step, end)) : "");
    const parts = started ? partsOf(step, end) : [];
    while (this.lane.children.length > parts.length) this.lane.lastElementChild.remove();
    while (this.lane.children.length < parts.length) this.lane.append(make("i"));
    parts.forEach((part, index) => {
      const bar = this.lane.children[index];
      const from = Math.max(begin, part.from);
      bar.className = part.kind;
      bar.dataset.state = part.state;
      if (bar.title !== part.title) bar.title = part.title;
      bar.style.left = `${(100 * (from - begin)) / (end - begin)}%`;
      bar.style.width = `${(100 * Math.max(0, part.to - from)) / (end - begin)}%`;
    });
  }
}

// What a bar is made of: an attempt for each call, what it waits for, and the time between two.
function partsOf(step, end) {
  const whole = { kind: "attempt", state: step.state, from: step.started_at, to: step.ended_at ?? end, title: "" };
  const pieces = step.timeline ?? [];
  if (!pieces.length) return [whole];
  const last = pieces.findLastIndex((piece) => piece.kind === "attempt");
  let number = 0;
  return pieces.map((piece, index) => {
    const to = piece.ended_at ?? step.ended_at ?? end;
    if (piece.kind === "attempt") number += 1;
    const name = { attempt: `attempt ${number}`, pause: "until the next attempt", wait: "waits" }[piece.kind];
    const told = piece.told ? `: ${piece.told}` : "";
    return {
      kind: piece.kind, from: piece.started_at, to,
      state: piece.kind !== "attempt" || index === last ? step.state : "failed",
      title: `${name}, ${span(to - piece.started_at)}${told}`,
    };
  });
}

function drawAxis(length) {
  const scale = $("axis").firstElementChild;
  const width = scale.clientWidth;
  const most = Math.max(2, Math.floor(width / 90));
  const step = TICKS.find((size) => length / size <= most) ?? 86400 * Math.ceil(length / 86400 / most);
  const ticks = [];
  // A label that would not fit at the end is left out.
  for (let time = 0; time < length; time += step) {
    const label = step < 1 ? `${time.toFixed(1)} s` : span(time).replace(".0 s", " s").replace(" 00 s", "").replace(" 00 min", "");
    if (((length - time) / length) * width > 10 + 7 * label.length) ticks.push([time, label]);
  }
  while (scale.children.length > ticks.length) scale.lastElementChild.remove();
  while (scale.children.length < ticks.length) scale.append(make("span"));
  ticks.forEach(([time, label], index) => {
    write(scale.children[index], label);
    scale.children[index].style.left = `${(100 * time) / length}%`;
  });
}
