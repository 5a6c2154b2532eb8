// What a step prints, as it comes.

import { askJson } from "./api.js";
import { make, write } from "./dom.js";

const EVERY = 1000; // ms
const MOST_SHOWN = 600_000; // characters; what came first goes first

export class Log {
  #address;
  #step;
  #position = "";
  #timer = 0;
  #goes = false;
  #hasStopped = false;
  #asking = false;
  #again = false;
  #last = null;
  #size = 0;

  constructor(place, address, step) {
    this.#address = address;
    this.#step = step;
    this.text = make("div", "log");
    this.text.tabIndex = 0;
    this.text.setAttribute("role", "region");
    this.text.setAttribute("aria-label", `What ${step} prints`);
    this.note = make("p", "quiet", "…");
    place.append(this.text, this.note);
  }

  // Read on, and again and again while the step goes on.
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
    this.#again = this.#asking; // what is being read now may miss the end
    if (this.#asking || this.#hasStopped) return;
    this.#asking = true;
    let more = false;
    try {
      const content = await askJson(this.#address({ step: this.#step, from: this.#position }));
      if (this.#hasStopped) return;
      more = content.parts.length > 0;
      this.#position = content.position;
      this.#append(content.parts);
      const isEmpty = this.text.childElementCount === 0;
      this.text.hidden = isEmpty;
      write(this.note, isEmpty ? (this.#goes ? "It has printed nothing yet." : "It printed nothing.") : "");
    } catch (error) {
      write(this.note, `The log can't be read: ${error.message}`);
    }
    this.#asking = false;
    if (this.#again) this.#look();
    else if (more || this.#goes) this.#timer = setTimeout(() => this.#look(), more ? 250 : EVERY);
  }

  #append(parts) {
    const { text } = this;
    const follows = text.scrollHeight - text.scrollTop - text.clientHeight < 30;
    for (const part of parts) {
      if (part.is_cut) text.append(make("p", "quiet", "Earlier output is left out here; `flowtoy runs logs` prints it."));
      if (this.#last?.capture !== part.capture || this.#last?.stream !== part.stream) this.#begin(part);
      this.#last.pre.append(part.text);
      this.#size += part.text.length;
    }
    while (this.#size > MOST_SHOWN && this.#last?.pre !== text.querySelector("pre")) {
      const first = text.querySelector("pre");
      this.#size -= first.textContent.length;
      first.remove();
    }
    if (this.#size > MOST_SHOWN) {
      const rest = this.#last.pre.textContent.slice(-MOST_SHOWN / 2);
      this.#last.pre.textContent = rest.slice(rest.indexOf("\n") + 1);
      this.#size = this.#last.pre.textContent.length;
    }
    if (follows) text.scrollTop = text.scrollHeight;
  }

  #begin({ capture, stream }) {
    const title = capture > 0 && this.#last?.capture !== capture ? `attempt ${capture + 1}, ${stream}` : stream;
    const pre = make("pre");
    pre.dataset.stream = stream;
    this.text.append(make("p", "stream", title), pre);
    this.#last = { capture, stream, pre };
  }
}
