// Why steps failed, before everything else.

import { $, make, makeButton, number, write } from "./dom.js";

const OPEN = 3; // failures that are shown in full
const MOST = 12; // and those that are shown at all

export const noteOf = (step, label) =>
  step.notes.slice(1).find((note) => note.startsWith(`${label}: `))?.slice(label.length + 2) ?? "";

// What stderr tells that the reason has not told already.
export function stderrOf(step) {
  const text = noteOf(step, "stderr").trim();
  return (step.notes[0] ?? "").endsWith(text) ? "" : text;
}

export class Failures {
  #choose;
  #filter;
  #shown = "";

  constructor({ choose, filter }) {
    this.#choose = choose;
    this.#filter = filter;
    $("more-failures").addEventListener("click", () => this.#filter("failed"));
  }

  show(status) {
    const failed = Object.entries(status.steps).filter(([, step]) => step.state === "failed");
    const known = JSON.stringify([status.dagster_run_id, failed.map(([name, step]) => [name, step.notes, step.place, step.items?.failures])]);
    if (known === this.#shown) return;
    this.#shown = known;
    $("failures").hidden = !failed.length;
    write($("failures-title"), failed.length === 1 ? "1 step failed" : `${number(failed.length)} steps failed`);
    $("failure-list").replaceChildren(...failed.slice(0, MOST).map((each, index) => this.#item(each, index < OPEN)));
    $("more-failures").hidden = failed.length <= MOST;
    write($("more-failures"), `Show all ${number(failed.length)} failed steps`);
  }

  #item([name, step], inFull) {
    const item = make("li");
    const button = makeButton("plain name", undefined, () => this.#choose(name));
    button.append(make("bdi", "", name));
    item.append(button, " ", make("span", "reason", step.notes[0] ?? ""));
    if (step.place) item.append(" ", make("span", "place", step.place));
    const text = inFull ? stderrOf(step) : "";
    if (text) {
      const part = make("pre", "", text);
      part.tabIndex = 0;
      part.setAttribute("aria-label", `stderr of ${name}`);
      item.append(part);
    }
    return item;
  }
}
