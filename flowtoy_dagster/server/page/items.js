// The items of a repeated step: the failed ones first, filtered.

import { askJson } from "./api.js";
import { GLYPHS, make, makeGlyph, number, write } from "./dom.js";

const EVERY = 3000; // ms
const MANY = 5000; // items; to read them costs the run's machine something

export class Items {
  #address;
  #step;
  #timer = 0;
  #goes = false;
  #hasStopped = false;
  #drawn = "";

  // Without an address there are the failures of the status alone.
  constructor(place, address, step) {
    this.#address = address;
    this.#step = step;
    this.words = make("input");
    this.words.type = "search";
    this.words.id = "find-items";
    this.words.placeholder = "Filter items";
    this.words.setAttribute("aria-label", "Filter items by key or reason");
    this.words.addEventListener("input", () => this.#look());
    this.states = make("select");
    this.states.setAttribute("aria-label", "Items of a state");
    this.states.append(new Option("in any state", ""));
    for (const state of ["failed", "succeeded", "skipped"]) this.states.append(new Option(state, state));
    this.states.addEventListener("change", () => this.#look());
    const tools = make("p", "choices");
    tools.append(this.words, this.states);
    tools.hidden = address === null;
    this.told = make("p", "quiet");
    this.frame = make("div", "frame");
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "region");
    this.frame.setAttribute("aria-label", "Items");
    place.append(tools, this.told, this.frame);
  }

  go(isLive) {
    this.#goes = isLive;
    this.#look();
  }

  stop() {
    this.#hasStopped = true;
    clearTimeout(this.#timer);
  }

  async #look() {
    clearTimeout(this.#timer);
    const query = { find: this.words.value, state: this.states.value };
    try {
      const content = this.#address === null ? this.#failures() : await askJson(this.#address(query));
      const isOld = query.find !== this.words.value || query.state !== this.states.value;
      if (this.#hasStopped || isOld) return;
      this.#draw(content);
    } catch (error) {
      write(this.told, `The items can't be read: ${error.message}`);
    }
    const pause = this.#step.items.total > MANY ? 10 * EVERY : EVERY;
    if (this.#goes && !this.#hasStopped) this.#timer = setTimeout(() => this.#look(), pause);
  }

  #failures() {
    const { items } = this.#step;
    const failed = items.failures.map(({ key, error }) => ({ key, error, state: "failed", attempts: 0 }));
    return { items: failed, found: items.failed };
  }

  #draw({ items, found }) {
    const drawn = JSON.stringify([items, found]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const kind = this.#address === null ? "failed items" : "items that have ended";
    write(this.told, items.length < found ? `the first ${number(items.length)} of ${number(found)} ${kind}` : `${number(found)} ${kind}`);
    const table = make("table", "item-list");
    const head = make("tr");
    for (const title of ["State", "Item", "Attempts"]) {
      const cell = make("th", "", title);
      cell.scope = "col";
      head.append(cell);
    }
    const top = make("thead");
    top.append(head);
    const body = make("tbody");
    body.append(...items.map(line));
    table.append(top, body);
    this.frame.replaceChildren(items.length ? table : make("p", "quiet", "None."));
  }
}

function line(item) {
  const row = make("tr");
  row.dataset.state = item.state;
  const state = make("span", "word");
  const glyph = makeGlyph();
  write(glyph, GLYPHS[item.state] ?? "?");
  state.append(glyph, item.reused ? "reused" : item.state);
  const told = make("span");
  told.append(make("bdi", "", item.key));
  if (item.error) told.append(make("span", "reason", item.error));
  for (const content of [state, told, item.attempts ? String(item.attempts) : ""]) {
    const cell = make("td");
    cell.append(content);
    row.append(cell);
  }
  return row;
}
