// Shows what /status and /outputs tell, and asks again while there is something to see.
// All that comes from outside is text: nothing of it is ever made into elements.

const EVERY = 1000; // ms between two questions while the run goes on
const EVERY_ENDED = 5000; // it may be run again
const PATIENCE = 8000;
const MOST_SHOWN = 64 * 1024; // bytes of a step's outputs
const GLYPHS = {
  pending: "○", running: "●", succeeded: "✓", failed: "✕", skipped: "–", cancelled: "■",
};
const ENDED = ["succeeded", "failed", "cancelled"];
const STEP_STATES = ["succeeded", "failed", "skipped", "running", "pending"];
const ITEM_STATES = ["failed", "succeeded", "skipped", "pending"]; // what is left has no words

const $ = (id) => document.getElementById(id);
const rows = new Map();
let shown = null; // the document that is on the page
let ahead = 0; // ms by which the clock of the run is ahead of ours
let unreachableSince = null;
let asking = false;
let timer = 0;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const now = () => (Date.now() + ahead) / 1000;
const clock = (time) => new Date(time * 1000).toLocaleTimeString([], { hourCycle: "h23" });

function span(seconds) {
  const value = Math.max(0, seconds);
  if (value < 60) return `${value.toFixed(1)} s`;
  const minutes = Math.floor(Math.round(value) / 60);
  const rest = String(Math.round(value) % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${rest} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// Asking

async function ask() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const content = await answer.json();
    if (answer.ok) {
      noteClock(answer);
      show(content);
      tellOutage(null);
    } else {
      if (content.last) show(content.last);
      tellOutage(content.error ?? `the answer was ${answer.status}`, content.since);
    }
  } catch (error) {
    tellOutage(error instanceof SyntaxError ? "the answer was not JSON" : "there is no answer");
  }
  asking = false;
  const ended = shown !== null && ENDED.includes(shown.state);
  if (!document.hidden) timer = setTimeout(ask, ended ? EVERY_ENDED : EVERY);
}

function noteClock(answer) {
  const told = Date.parse(answer.headers.get("date") ?? "");
  const difference = told + 500 - Date.now();
  // The header has whole seconds: below that, the clocks are as good as the same.
  ahead = Math.abs(difference) > 2000 ? difference : 0;
}

function tellOutage(reason, since) {
  if (reason === null) {
    unreachableSince = null;
    $("outage").hidden = true;
    return;
  }
  unreachableSince = since ?? unreachableSince ?? Date.now() / 1000;
  write($("outage"), `Not reachable since ${clock(unreachableSince)}: ${reason}`);
  $("outage").hidden = false;
}

// The run

function show(status) {
  if (shown === null || shown.dagster_run_id !== status.dagster_run_id) {
    rows.clear();
    $("steps").replaceChildren();
  } else if (shown.state !== status.state) {
    write($("spoken"), `The run is ${status.verdict ?? status.state}`);
  }
  shown = status;
  const verdict = status.verdict ?? status.state;
  // A run that succeeded although steps failed is not shown as a success.
  const look = verdict === "finished with failures" ? "failed" : status.state;
  document.title = `${GLYPHS[look] ?? ""} ${status.name} – ${verdict}`;
  write($("name"), status.name);
  $("state").dataset.state = look;
  write($("state").querySelector(".glyph"), GLYPHS[look] ?? "?");
  write($("state-word"), verdict);
  write($("started"), status.started_at ? `started ${clock(status.started_at)}` : "");
  write($("run"), `run ${String(status.dagster_run_id ?? status.run_id).slice(0, 8)}`);
  showCounts(status);
  const names = Object.keys(status.steps);
  for (const name of names) {
    if (!rows.has(name)) rows.set(name, addRow(name));
    rows.get(name).update(status.steps[name]);
  }
  draw();
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

// A bar with a part for each state, as long as its count.
function fillBar(bar, states, count, ended) {
  if (!bar.children.length) {
    bar.append(...states.map((state) => {
      const part = make("i");
      part.dataset.state = state;
      return part;
    }));
  }
  for (const part of bar.children) {
    part.style.flexGrow = count[part.dataset.state];
    part.hidden = !count[part.dataset.state];
  }
  bar.setAttribute("aria-valuemax", states.reduce((sum, state) => sum + count[state], 0));
  bar.setAttribute("aria-valuenow", ended);
}

// A step

function addRow(name) {
  const item = make("li", "step");
  const details = make("details");
  const summary = make("summary");
  const title = make("span", "name");
  const glyph = make("span", "glyph");
  glyph.setAttribute("aria-hidden", "true");
  title.append(glyph, make("bdi", "", name));
  const told = make("span", "told");
  const word = make("span", "word");
  const took = make("span", "took");
  const attempt = make("span", "attempt");
  told.append(word, took, attempt);
  const lane = make("span", "lane");
  lane.setAttribute("aria-hidden", "true");
  const bar = make("i");
  lane.append(bar);
  const items = make("span", "items");
  const itemBar = make("span", "bar");
  itemBar.setAttribute("role", "progressbar");
  itemBar.setAttribute("aria-label", `Items of ${name} that have ended`);
  itemBar.setAttribute("aria-valuemin", "0");
  const itemWords = make("span");
  items.append(itemBar, itemWords);
  const why = make("span", "why");
  summary.append(title, told, lane, items, why);
  const more = make("div", "more");
  details.append(summary, more);
  item.append(details);
  $("steps").append(item);

  const row = { step: null, took, bar, lane, outputs: null };
  details.addEventListener("toggle", () => details.open && fill());

  function fill() {
    more.replaceChildren(facts(row.step), ...notes(row.step), ...failedItems(row.step.items));
    if (row.step.state !== "succeeded") return;
    if (row.outputs === null) {
      row.outputs = make("div");
      readOutputs(name, row.outputs).catch(() => { row.outputs = null; });
    }
    more.append(row.outputs);
  }

  row.update = (step) => {
    if (row.step !== null && JSON.stringify(row.step) === JSON.stringify(step)) return;
    row.step = step;
    item.dataset.state = step.state;
    write(glyph, GLYPHS[step.state] ?? "?");
    write(word, step.state);
    write(attempt, step.attempt > 1 ? `attempt ${step.attempt}` : "");
    write(why, step.notes[0] ?? step.waits_for ?? "");
    items.hidden = !step.items;
    if (step.items) {
      const left = step.items.total - endedItems(step.items);
      fillBar(itemBar, ITEM_STATES, { ...step.items, pending: left }, endedItems(step.items));
      write(itemWords, itemsText(step.items));
    }
    if (details.open) fill();
  };
  return row;
}

function facts(step) {
  const list = make("dl");
  const add = (term, ...values) => {
    const told = make("dd");
    told.append(...values);
    list.append(make("dt", "", term), told);
  };
  if (step.depends_on.length) add("after", ...step.depends_on.map((name) => make("bdi", "", name)));
  if (step.outputs.length) add("outputs", ...step.outputs.map((name) => make("bdi", "", name)));
  if (step.started_at) add("started", clock(step.started_at));
  if (step.ended_at) add("ended", clock(step.ended_at));
  if (step.attempt) add("attempts", String(step.attempt));
  if (step.cursor) add("cursor", cursorText(step.cursor));
  return list;
}

function cursorText({ key, last_value: last, start_value: start, value, state, reason }) {
  const moved = [last ?? start, value].filter((one) => one !== null).join(" → ");
  const told = [moved, state === "held" ? "not stored" : state].filter(Boolean).join(", ");
  return (key ? `${key}: ` : "") + told + (reason ? `: ${reason}` : "");
}

const endedItems = (items) => items.succeeded + items.failed + items.skipped;

function itemsText(items) {
  const told = [`${endedItems(items).toLocaleString("en")} of ${items.total.toLocaleString("en")} items`];
  for (const state of ["failed", "skipped", "reused"]) {
    if (items[state]) told.push(`${items[state].toLocaleString("en")} ${state}`);
  }
  return told.join(" · ");
}

function failedItems(items) {
  if (!items || !items.failures.length) return [];
  const more = items.failed - items.failures.length;
  const list = make("dl", "failures");
  for (const { key, error } of items.failures) {
    list.append(make("dt", "", key), make("dd", "", error));
  }
  const title = more > 0 ? `The first ${items.failures.length} of ${items.failed} failed items` : "Failed items";
  return [make("h3", "", title), list];
}

function notes(step) {
  if (step.notes.length < 2) return [];
  return step.notes.flatMap((note, index) => {
    const [, label, text] = (index && /^(called|stderr): (.*)$/s.exec(note)) || [null, "reason", note];
    return [make("h3", "", label), make("pre", "", text)];
  });
}

async function readOutputs(name, place) {
  const address = `outputs?step=${encodeURIComponent(name)}`;
  const answer = await fetch(address, { cache: "no-store" });
  if (!answer.ok) throw new Error(String(answer.status));
  const { text, whole } = await firstPart(answer);
  const shownText = whole ? JSON.stringify(Object.values(JSON.parse(text))[0] ?? null, null, 2) : text;
  place.replaceChildren(make("h3", "", "Outputs"), make("pre", "", shownText));
  if (!whole) {
    const link = make("a", "", "all of it");
    link.href = address;
    const rest = make("p", "", "This is the beginning; see ");
    rest.append(link);
    place.append(rest);
  }
}

async function firstPart(answer) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text: text + decoder.decode(), whole: true };
    text += decoder.decode(value, { stream: true });
    if (text.length > MOST_SHOWN) {
      reader.cancel();
      return { text: `${text.slice(0, MOST_SHOWN)}…`, whole: false };
    }
  }
}

// Time

function draw() {
  if (shown === null || shown.started_at === null) return;
  const begin = shown.started_at;
  const still = unreachableSince ?? now();
  const end = Math.max(shown.ended_at ?? still, begin + 0.1);
  const share = (time) => `${(100 * (time - begin)) / (end - begin)}%`;
  write($("elapsed"), span(end - begin));
  for (const { step, took, bar } of rows.values()) {
    const reused = step.ended_at !== null && step.ended_at < begin && step.state === "succeeded";
    const until = step.ended_at ?? end;
    if (step.started_at === null || reused) {
      bar.hidden = true;
      write(took, reused ? "in the run before" : "");
      continue;
    }
    bar.hidden = false;
    bar.style.left = share(Math.max(begin, step.started_at));
    bar.style.width = `${(100 * Math.max(0, until - step.started_at)) / (end - begin)}%`;
    write(took, span(until - step.started_at));
  }
  drawAxis(end - begin, share, begin);
}

function drawAxis(length, share, begin) {
  let scale = $("axis").firstElementChild;
  if (scale === null) {
    scale = make("div", "scale");
    $("axis").append(scale);
  }
  const most = Math.max(2, Math.floor(scale.clientWidth / 90));
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];
  const step = steps.find((size) => length / size <= most) ?? 86400;
  const ticks = [];
  for (let time = 0; time < length * 0.97; time += step) ticks.push(time);
  while (scale.children.length > ticks.length) scale.lastElementChild.remove();
  while (scale.children.length < ticks.length) scale.append(make("span"));
  ticks.forEach((time, index) => {
    const tick = scale.children[index];
    write(tick, step < 1 ? `${time.toFixed(1)} s` : span(time).replace(".0 s", " s").replace(" 00 s", ""));
    tick.style.left = share(begin + time);
  });
}

setInterval(() => {
  if (shown !== null && !ENDED.includes(shown.state) && !document.hidden) draw();
}, 200);
addEventListener("resize", draw);
document.addEventListener("visibilitychange", () => document.hidden || ask());
ask();
