// The runs of the home: a list, and the ways to the previous and the next run of the one that is shown.

import { askJson, pageOf } from "./api.js";
import { $, GLYPHS, make, makeGlyph, moment, span, write } from "./dom.js";

export class Runs {
  #open;
  #shown = null; // the status that is on the page
  #list = [];
  #all = false;
  #state = "";
  #known = "";
  #turn = 0; // of the newest question: answers may come in another order
  #isMissing = false; // the newest question had no answer

  constructor({ open }) {
    this.#open = open;
    for (const id of ["before", "after"]) $(id).addEventListener("click", (event) => this.#follow(event));
  }

  // A run is shown; the list is read again where it may have changed.
  note(status, isOther) {
    const changed = isOther || this.#isMissing || this.#shown?.state !== status.state;
    this.#shown = status;
    if (changed) this.load();
  }

  async load() {
    const turn = ++this.#turn;
    this.#isMissing = false;
    try {
      const query = this.#isOfAll() ? "" : `?flow=${encodeURIComponent(this.#shown.name)}`;
      const { runs } = await askJson(`flow/runs${query}`);
      if (turn !== this.#turn) return;
      this.#list = runs;
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#isMissing = true;
      $("runs").replaceChildren(make("p", "quiet", `The runs can't be listed: ${error.message}`));
      this.#known = "";
      return;
    }
    this.#showWays();
    if (!$("runs").hidden) this.#draw();
  }

  // Where the run that was asked for is not there, there is no flow whose runs could be listed.
  #isOfAll() {
    return this.#all || this.#shown === null;
  }

  #showWays() {
    if (this.#shown === null) return;
    const at = this.#list.findIndex((run) => run.run_id === this.#shown.dagster_run_id);
    for (const [id, by] of [["before", 1], ["after", -1]]) {
      const run = at < 0 ? undefined : this.#list[at + by];
      $(id).hidden = !run;
      if (!run) continue;
      $(id).href = pageOf(run.run_id);
      $(id).dataset.run = run.run_id;
      $(id).title = `run ${run.run_id.slice(0, 8)}: ${run.verdict}, ${moment(run.started_at)}`;
    }
  }

  #draw() {
    const known = JSON.stringify([this.#list, this.#all, this.#state, this.#shown?.dagster_run_id]);
    if (known === this.#known) return;
    this.#known = known;
    const focus = document.activeElement?.id;
    $("runs").replaceChildren(this.#choices(), this.#table());
    if (focus) $(focus)?.focus();
  }

  #choices() {
    const line = make("p", "choices");
    const flows = make("select");
    flows.id = "which-flow";
    flows.setAttribute("aria-label", "Flows");
    if (this.#shown !== null) flows.append(new Option(`of ${this.#shown.name}`, ""));
    flows.append(new Option("of all flows", "all"));
    flows.value = this.#isOfAll() ? "all" : "";
    flows.addEventListener("change", () => { this.#all = flows.value === "all"; this.load(); });
    const states = make("select");
    states.id = "which-state";
    states.setAttribute("aria-label", "States");
    states.append(new Option("in any state", ""));
    for (const state of ["running", "succeeded", "failed", "cancelled"]) states.append(new Option(state, state));
    states.value = this.#state;
    states.addEventListener("change", () => { this.#state = states.value; this.#draw(); });
    line.append(flows, states);
    return line;
  }

  #table() {
    const table = make("table", "runs");
    table.append(make("caption", "hidden", "The latest runs, the newest first"));
    const head = make("tr");
    for (const title of ["Run", "State", ...(this.#isOfAll() ? ["Flow"] : []), "Started", "Took", ""]) {
      const cell = make("th", "", title);
      cell.scope = "col";
      if (!title) cell.append(make("span", "hidden", "Retry of"));
      head.append(cell);
    }
    const body = make("tbody");
    body.append(...this.#list.filter((run) => !this.#state || run.state === this.#state).map((run) => this.#line(run)));
    const top = make("thead");
    top.append(head);
    table.append(top, body);
    if (body.children.length) return table;
    return make("p", "quiet", "No such runs.");
  }

  #line(run) {
    const line = make("tr");
    const mood = run.verdict === "finished with failures" ? "failed" : run.state;
    line.dataset.state = mood;
    const link = this.#link(run.run_id);
    if (run.run_id === this.#shown?.dagster_run_id) {
      line.className = "chosen";
      link.setAttribute("aria-current", "page");
    }
    const state = make("span", "word");
    const glyph = makeGlyph();
    write(glyph, GLYPHS[mood] ?? "?");
    state.append(glyph, run.verdict);
    const took = run.started_at && run.ended_at ? span(run.ended_at - run.started_at) : "";
    const origin = make("span");
    if (run.retry_of) origin.append("retry of ", this.#link(run.retry_of));
    const cells = [link, state, ...(this.#isOfAll() ? [make("bdi", "", run.name)] : []), moment(run.started_at), make("span", "took", took), origin];
    line.append(...cells.map((content) => {
      const cell = make("td");
      cell.append(content);
      return cell;
    }));
    return line;
  }

  #link(run) {
    const link = make("a", "", run.slice(0, 8));
    link.href = pageOf(run);
    link.dataset.run = run;
    link.addEventListener("click", (event) => this.#follow(event));
    return link;
  }

  #follow(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.#open(event.currentTarget.dataset.run);
  }
}
