// The outputs of a step; of large ones the beginning.

import { ask } from "./api.js";
import { make } from "./dom.js";

const MOST_SHOWN = 64 * 1024; // characters

export async function readOutputs(address, place) {
  const answer = await ask(address);
  if (!answer.ok) throw new Error((await answer.json()).error);
  const { text, whole } = await firstPart(answer);
  const value = whole ? Object.values(JSON.parse(text))[0] ?? null : null;
  const isEmpty = whole && (value === null || Object.keys(value).length === 0);
  if (isEmpty) {
    place.replaceChildren(make("p", "quiet", "This step has no outputs."));
    return;
  }
  const pre = make("pre", "", whole ? JSON.stringify(value, null, 2) : text);
  pre.tabIndex = 0;
  pre.setAttribute("aria-label", "Outputs");
  place.replaceChildren(pre);
  if (!whole) {
    const link = make("a", "", "all outputs");
    link.href = address;
    const rest = make("p", "quiet", "This is the beginning; see ");
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
