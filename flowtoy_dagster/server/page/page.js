// Shows how a run stands, and asks again while there is something to see.

import { act, addressOf, ask, features, namedRun, pageOf, readFeatures } from "./api.js";
import { Chart } from "./chart.js";
import { $, clock, ENDED, fillBar, GLYPHS, moment, span, STEP_STATES, write } from "./dom.js";
import { Failures } from "./failures.js";
import { openForm } from "./form.js";
import { Graph } from "./graph.js";
import { Panel } from "./panel.js";
import { Runs } from "./runs.js";

const EVERY = 1000; // ms between two questions while the run goes on
const EVERY_ENDED = 5000; // it may be run again
const VIEWS = ["chart", "graph", "runs"];

let shown = null; // the document that is on the page
let ahead = 0; // ms by which the clock of the run is ahead of ours
let unreachableSince = null;
let asking = false;
let timer = 0;
let busy = false; // something was asked for, and is not answered
let ending = ""; // the run that was asked to end; asked once more, it ends at once

const now = () => (Date.now() + ahead) / 1000;
const shownRun = () => shown?.dagster_run_id ?? "";
// Where a server knows one run alone, it is read at `/status` and `/outputs`.
const partOf = (part, query) => addressOf(part, features.log ? shownRun() : "", query);

const panel = new Panel({ partOf, retryFrom: (step) => doIt("retry", { step }), leave: () => choose(null), now });
const chart = new Chart({ choose, now: () => unreachableSince ?? now() });
const graph = new Graph({ choose });
const failures = new Failures({ choose: (name) => choose(name, true), filter: (state) => chart.showOnly(state) });
const runs = new Runs({ open });

// Asking

async function look() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  const run = namedRun();
  try {
    const answer = await ask(addressOf("status", run));
    const content = await answer.json();
    if (run !== namedRun()) {
      // Somebody has gone to another run meanwhile.
    } else if (answer.ok) {
      noteClock(answer);
      show(content);
      tellOutage(null);
    } else {
      if (content.last) show(content.last);
      tellOutage(content.error ?? `the answer was ${answer.status}`, content.since, answer.status);
    }
  } catch (error) {
    tellOutage(error instanceof SyntaxError ? "the answer was not JSON" : "there is no answer");
  }
  asking = false;
  if (run !== namedRun()) look();
  else if (!document.hidden) timer = setTimeout(look, hasEnded() ? EVERY_ENDED : EVERY);
}

const hasEnded = () => shown !== null && ENDED.includes(shown.state);

function noteClock(answer) {
  const told = Date.parse(answer.headers.get("date") ?? "");
  const difference = told + 500 - Date.now();
  // The header has whole seconds: below that, the clocks are as good as the same.
  ahead = Math.abs(difference) > 2000 ? difference : 0;
}

function tellOutage(reason, since, code) {
  if (reason === null) {
    unreachableSince = null;
    $("outage").hidden = true;
    return;
  }
  const isGone = code === 404;
  if (isGone && shown === null) write($("state-word"), "there is no such run");
  if (!isGone) unreachableSince = since ?? unreachableSince ?? Date.now() / 1000;
  const text = isGone ? `This run can't be shown: ${reason}` : `Not reachable since ${clock(unreachableSince)}: ${reason}`;
  write($("outage"), text);
  $("outage").hidden = false;
}

// The run

function show(status) {
  const isOther = shown === null || shown.dagster_run_id !== status.dagster_run_id;
  if (isOther) {
    chart.clear();
    panel.leave();
  } else if (shown.state !== status.state) {
    write($("spoken"), `The run is ${status.verdict ?? status.state}`);
  }
  shown = status;
  showHead(status);
  showCounts(status);
  failures.show(status);
  chart.show(status);
  graph.show(status);
  panel.show(status);
  if (features.runs) runs.note(status, isOther);
  draw();
}

function showHead(status) {
  const verdict = status.verdict ?? status.state;
  // A run that succeeded although steps failed is not shown as a success.
  const mood = verdict === "finished with failures" ? "failed" : status.state;
  document.title = `${GLYPHS[mood] ?? ""} ${status.name} – ${verdict}`;
  write($("name"), status.name);
  $("state").dataset.state = mood;
  write($("state").querySelector(".glyph"), GLYPHS[mood] ?? "?");
  write($("state-word"), verdict);
  write($("started"), status.started_at ? `started ${moment(status.started_at)}` : "");
  const id = String(status.dagster_run_id ?? status.run_id);
  write($("run"), `run ${id.slice(0, 8)}`);
  $("links").hidden = !features.runs && !features.dagster;
  $("dagster").hidden = !features.dagster;
  $("dagster").href = `runs/${encodeURIComponent(id)}`;
  $("status-link").href = partOf("status");
  $("outputs-link").href = partOf("outputs");
  const ended = hasEnded();
  const left = Object.values(status.steps).some((step) => ["failed", "skipped"].includes(step.state));
  const retries = ended && left && !(status.state === "succeeded" && mood !== "failed");
  showActions({ retry: retries, again: ended, cancel: !ended });
  write($("cancel"), ending === id ? "End at once" : "Cancel");
}

function showActions(wanted) {
  $("actions").hidden = !features.actions;
  const focused = document.activeElement;
  for (const [name, isShown] of Object.entries(wanted)) $(name).hidden = !isShown;
  // Not on another button: a second press of Enter would be one of that.
  if (focused?.hidden && $("actions").contains(focused)) $("actions").focus();
}

function showCounts(status) {
  const steps = Object.values(status.steps);
  const count = Object.fromEntries(
    STEP_STATES.map((state) => [state, steps.filter((step) => step.state === state).length]),
  );
  const told = [`${status.completed_steps + status.skipped_steps} of ${status.total_steps} steps ended`];
  for (const state of ["running", "failed", "skipped"]) {
    if (count[state]) told.push(`${count[state]} ${state}`);
  }
  write($("count"), told.join(" · "));
  fillBar($("bar"), STEP_STATES, count, status.completed_steps + status.skipped_steps);
}

function draw() {
  if (shown === null) return;
  const still = unreachableSince ?? now();
  write($("elapsed"), shown.started_at ? span((shown.ended_at ?? still) - shown.started_at) : "");
  chart.draw();
}

// What is looked at

function choose(name, jump = false) {
  if (jump) selectView("chart");
  const other = name !== null && name === panel.step && !jump ? null : name;
  chart.mark(other, jump);
  graph.mark(other);
  if (other === null) panel.leave();
  else panel.open(other, shown);
  placePanel();
  chart.draw(true); // it has another width
}

const isNarrow = matchMedia("(max-width: 900px)");

// Next to the steps if there is room for both; else in the place of the chosen step.
function placePanel() {
  const row = isNarrow.matches && !$("chart").hidden ? chart.rowOf(panel.step) : null;
  const home = row ?? document.querySelector(".sides");
  if ($("panel").parentElement !== home) home.append($("panel"));
  document.querySelector(".sides").classList.toggle("two", !isNarrow.matches && panel.step !== null && $("runs").hidden);
}

function selectView(name, focus = false) {
  for (const view of VIEWS) {
    $(view).hidden = view !== name;
    const tab = $(`tab-${view}`);
    tab.setAttribute("aria-selected", String(view === name));
    tab.tabIndex = view === name ? 0 : -1;
    if (view === name && focus) tab.focus();
  }
  $("tools").hidden = name === "runs";
  $("order").hidden = name !== "chart";
  $("panel").classList.toggle("away", name === "runs");
  placePanel();
  if (name === "graph") graph.draw();
  if (name === "runs") runs.load();
  draw();
}

function open(run) {
  history.pushState(null, "", pageOf(run));
  selectView("chart");
  look();
}

// Actions

async function doIt(action, more) {
  if (busy) return;
  $("trouble").hidden = true;
  const asked = namedRun();
  setBusy(true);
  try {
    const run = await act(action, shownRun(), more);
    if (action === "cancel") {
      ending = run;
      await new Promise((goOn) => setTimeout(goOn, 1000)); // a double click means one
    }
    if (namedRun() !== asked) return; // somebody has gone to another run meanwhile
    if (run !== shownRun()) open(run);
    else look();
  } catch (error) {
    write($("trouble"), error.message);
    $("trouble").hidden = false;
  } finally {
    setBusy(false);
  }
}

const ACTIONS = {
  retry: () => doIt("retry"),
  cancel: () => doIt("cancel"),
  again: () => { if (!busy) openForm(partOf("form"), shownRun(), open); },
};

// A button that is disabled would lose the focus.
function setBusy(isBusy) {
  busy = isBusy;
  for (const name of Object.keys(ACTIONS)) $(name).setAttribute("aria-disabled", String(isBusy));
}

for (const [name, begin] of Object.entries(ACTIONS)) $(name).addEventListener("click", begin);

// Views and keys

for (const view of VIEWS) $(`tab-${view}`).addEventListener("click", () => selectView(view));
document.querySelector(".views").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const open = VIEWS.filter((view) => !$(`tab-${view}`).hidden);
  const at = open.findIndex((view) => $(`tab-${view}`) === document.activeElement);
  if (by && at >= 0) selectView(open[(at + by + open.length) % open.length], true);
});
const help = () => $("help").showModal();
$("keys").addEventListener("click", help);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const writes = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (writes?.value && writes.id === "filter") chart.clearFilter();
    else if (panel.step !== null) {
      const row = chart.rowOf(panel.step);
      choose(null);
      row?.querySelector("button").focus();
    }
  } else if (writes) {
    return;
  } else if (event.key === "/") {
    selectView("chart");
    $("filter").focus();
    event.preventDefault();
  } else if (event.key === "?") {
    help();
  }
});

// What sticks below the head must know how high it is.
new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--head", `${target.offsetHeight}px`);
}).observe($("head"));
$("filter").addEventListener("input", () => graph.filter(chart.shownNames()));
isNarrow.addEventListener("change", placePanel);
addEventListener("resize", () => { chart.draw(true); graph.draw(); });
addEventListener("popstate", look);
document.addEventListener("visibilitychange", () => document.hidden || look());
setInterval(() => {
  if (shown !== null && !hasEnded() && !document.hidden) draw();
}, 250);

try {
  await readFeatures();
} catch {
  // Then there are none; the error is shown below.
}
$("tab-runs").hidden = !features.runs;
selectView("chart");
look();
