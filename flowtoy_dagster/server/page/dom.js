// Elements and words. All that comes from outside is text: nothing of it is ever made into elements.

export const GLYPHS = {
  pending: "○", running: "●", succeeded: "✓", failed: "✕", skipped: "–", cancelled: "■",
};
export const ENDED = ["succeeded", "failed", "cancelled"];
export const STEP_STATES = ["succeeded", "failed", "skipped", "running", "pending"];

export const $ = (id) => document.getElementById(id);

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function makeButton(className, text, act) {
  const button = make("button", className, text);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function makeGlyph() {
  const glyph = make("span", "glyph");
  glyph.setAttribute("aria-hidden", "true");
  return glyph;
}

export function facts(pairs) {
  const list = make("dl", "facts-list");
  for (const [term, ...values] of pairs) {
    const told = make("dd");
    told.append(...values);
    list.append(make("dt", "", term), told);
  }
  return list;
}

// A bar with a part for each state, as long as its count.
export function fillBar(bar, states, count, ended) {
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

// Words

export const clock = (time) => new Date(time * 1000).toLocaleTimeString([], { hourCycle: "h23" });

export function moment(time) {
  if (time === null) return "not yet";
  const date = new Date(time * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? clock(time) : `${date.toLocaleDateString()} ${clock(time)}`;
}

export function span(seconds) {
  const value = Math.max(0, seconds);
  if (value < 59.95) return `${value.toFixed(1)} s`;
  const minutes = Math.floor(Math.round(value) / 60);
  const rest = String(Math.round(value) % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${rest} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export const number = (count) => count.toLocaleString("en");
