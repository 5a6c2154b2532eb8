// All that is known of the chosen step: why it failed, its log, its outputs, its items.

import { features } from "./api.js";
import { clock, ENDED, facts, GLYPHS, make, makeButton, makeGlyph, span, write, $ } from "./dom.js";
import { noteOf, stderrOf } from "./failures.js";
import { Items } from "./items.js";
import { Log } from "./log.js";
import { readOutputs } from "./outputs.js";

const TABS = { log: "Log", outputs: "Outputs", items: "Items", about: "About" };

export class Panel {
  step = null; // the name of the chosen step
  #partOf;
  #retryFrom;
  #close;
  #status = null;
  #wanted = null; // the tab that somebody has chosen
  #tab = "";
  #told = "";
  #body = null;
  #part = null;

  constructor({ partOf, retryFrom, leave }) {
    this.#partOf = partOf;
    this.#retryFrom = retryFrom;
    this.#close = leave;
  }

  open(name, status) {
    this.leave();
    this.step = name;
    this.#status = status;
    $("panel").hidden = false;
    this.#fill();
  }

  leave() {
    this.step = null;
    this.#told = "";
    this.#tab = "";
    this.#part?.stop?.();
    this.#part = null;
    $("panel").hidden = true;
    $("panel").replaceChildren();
  }

  show(status) {
    if (this.step === null) return;
    this.#status = status;
    if (this.step in status.steps) this.#fill();
    else this.leave();
  }

  get #known() {
    return this.#status.steps[this.step];
  }

  // The parts are made anew only where something of the step has changed.
  #fill() {
    const step = this.#known;
    const told = JSON.stringify([step, this.#status.state]);
    if (told === this.#told) return;
    this.#told = told;
    if (this.#body === null || this.#body.parentElement !== $("panel")) {
      this.#body = make("div", "part");
      this.#body.id = "panel-part";
      this.#body.setAttribute("role", "tabpanel");
    }
    const hadFocus = $("panel").contains(document.activeElement) ? document.activeElement.id : "";
    const tabs = this.#tabs();
    $("panel").replaceChildren(this.#head(), ...this.#why(), tabs, this.#body);
    if (hadFocus) $(hadFocus)?.focus({ preventScroll: true });
    this.#select(this.#bestTab(), false);
  }

  #head() {
    const step = this.#known;
    const head = make("div", "line");
    head.dataset.state = step.state;
    const title = make("h2");
    title.id = "panel-name";
    const glyph = makeGlyph();
    write(glyph, GLYPHS[step.state] ?? "?");
    title.append(glyph, make("bdi", "", this.step));
    const acts = make("span", "actions");
    if (features.actions && ENDED.includes(this.#status.state)) {
      const retry = makeButton("", "Retry from here", () => this.#retryFrom(this.step));
      retry.id = "retry-from";
      acts.append(retry);
    }
    const close = makeButton("plain", "✕", () => this.#close());
    close.id = "close-panel";
    close.setAttribute("aria-label", "Close");
    acts.append(close);
    head.append(title, acts);
    return head;
  }

  #why() {
    const step = this.#known;
    const parts = [];
    if (["failed", "skipped"].includes(step.state) && step.notes.length) {
      const reason = make("p", "reason", step.notes[0]);
      reason.dataset.state = step.state;
      parts.push(reason);
    }
    const called = noteOf(step, "called");
    if (called) parts.push(make("p", "called", called));
    if (step.place) parts.push(make("p", "place", step.place));
    for (const { message, place } of step.warnings ?? []) {
      parts.push(make("p", "warning", `warning: ${message}`));
      if (place) parts.push(make("p", "place", place));
    }
    const text = stderrOf(step);
    // The log has it too, where there is one.
    if (text && !features.log) parts.push(make("h3", "", "stderr"), make("pre", "", text));
    return parts;
  }

  #open() {
    const step = this.#known;
    const names = Object.keys(TABS).filter((name) => name !== "log" || features.log);
    return names.filter((name) => name !== "items" || step.items);
  }

  #bestTab() {
    const step = this.#known;
    const open = this.#open();
    if (open.includes(this.#wanted)) return this.#wanted;
    // Who watches the log goes on doing so when the step ends.
    if (open.includes(this.#tab)) return this.#tab;
    if (step.items?.failures.length) return "items";
    if (step.state === "succeeded" || !features.log) return step.state === "succeeded" ? "outputs" : "about";
    return step.state === "running" || step.state === "failed" ? "log" : "about";
  }

  #tabs() {
    const list = make("div", "views small");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "What is shown of the step");
    for (const name of this.#open()) {
      const tab = makeButton("", TABS[name], () => { this.#wanted = name; this.#select(name, true); });
      tab.id = `part-${name}`;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", "panel-part");
      list.append(tab);
    }
    list.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const all = [...list.children];
      const at = all.indexOf(document.activeElement);
      if (by && at >= 0) all[(at + by + all.length) % all.length].click();
    });
    return list;
  }

  #select(name, focus) {
    for (const tab of document.querySelectorAll("#panel [role=tab]")) {
      const isIt = tab.id === `part-${name}`;
      tab.setAttribute("aria-selected", String(isIt));
      tab.tabIndex = isIt ? 0 : -1;
      if (isIt && focus) tab.focus();
    }
    this.#body.setAttribute("aria-labelledby", `part-${name}`);
    const isLive = !ENDED.includes(this.#known.state) && this.#known.state !== "skipped";
    if (this.#tab === name && this.#part?.go) {
      this.#part.go(isLive);
      return;
    }
    this.#part?.stop?.();
    this.#tab = name;
    this.#part = null;
    this.#body.replaceChildren();
    if (name === "about") this.#body.append(...this.#about());
    if (name === "outputs") this.#showOutputs();
    if (name === "log") this.#part = new Log(this.#body, (query) => this.#partOf("log", query), this.step);
    if (name === "items") this.#part = new Items(this.#body, this.#itemsAddress(), this.#known);
    this.#part?.go(isLive);
  }

  #itemsAddress() {
    return features.log ? (query) => this.#partOf("items", { step: this.step, ...query }) : null;
  }

  #showOutputs() {
    const step = this.#known;
    if (step.state !== "succeeded") {
      const why = { failed: "A step that failed has no outputs.", skipped: "A step that was skipped has no outputs." };
      this.#body.append(make("p", "quiet", why[step.state] ?? "The outputs are here when the step has succeeded."));
      return;
    }
    // In a place of their own: when they come, something else may be shown.
    const place = make("div", "values");
    this.#body.append(place);
    readOutputs(this.#partOf("outputs", { step: this.step }), place).catch((error) => {
      place.replaceChildren(make("p", "quiet", `The outputs can't be read: ${error.message}`));
    });
  }

  #about() {
    const step = this.#known;
    const names = (list) => list.map((name) => make("bdi", "", name));
    const told = [["state", step.state]];
    if (step.depends_on.length) told.push(["after", ...names(step.depends_on)]);
    if (step.outputs.length) told.push(["outputs", ...names(step.outputs)]);
    if (step.started_at) told.push(["started", clock(step.started_at)]);
    if (step.ended_at) told.push(["ended", clock(step.ended_at)]);
    if (step.waits_for) told.push(["waits", step.waits_for]);
    if (step.cursor) told.push(["cursor", cursorText(step.cursor)]);
    const parts = [facts(told)];
    const attempts = (step.timeline ?? []).filter((piece) => piece.kind === "attempt");
    if (attempts.length > 1) parts.push(make("h3", "", "Attempts"), facts(attempts.map(attemptText)));
    return parts;
  }
}

function attemptText(piece, index) {
  const took = piece.ended_at === null ? "goes on" : span(piece.ended_at - piece.started_at);
  return [String(index + 1), `${clock(piece.started_at)}, ${took}${piece.told ? `: ${piece.told}` : ""}`];
}

function cursorText({ key, last_value: last, start_value: start, value, state, reason, items }) {
  const moved = [last ?? start, value].filter((one) => one !== null).join(" → ");
  const ends = items ? itemCursors(items) : state === "held" ? "not stored" : state;
  const told = [moved, ends].filter(Boolean).join(", ");
  return (key ? `${key}: ` : "") + told + (reason ? `: ${reason}` : "");
}

function itemCursors({ stored, unchanged, held }) {
  const counts = [[stored, "stored"], [unchanged, "unchanged"], [held, "not stored"]];
  return counts.filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(", ") || "none";
}
