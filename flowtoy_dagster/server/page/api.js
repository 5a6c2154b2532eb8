// Asking the server, and telling it what to do.

const PATIENCE = 8000; // ms

export let features = { runs: false, dagster: false, actions: false, log: false };

export async function readFeatures() {
  const answer = await fetch("flow/features", { cache: "no-store" });
  if (answer.ok) features = await answer.json();
}

// The run that the address names; empty where it is the one that the server shows.
export const namedRun = () => new URLSearchParams(location.search).get("run") ?? "";

export const pageOf = (run) => `?run=${encodeURIComponent(run)}`;

// Where a part of what is known of the shown run is: `status`, `outputs`, `log`, `items`, `form`.
export function addressOf(part, run, query = {}) {
  const words = new URLSearchParams(query).toString();
  const path = run ? `flow/runs/${encodeURIComponent(run)}/${part}` : part;
  return words ? `${path}?${words}` : path;
}

export function ask(address) {
  return fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
}

export async function askJson(address) {
  const answer = await ask(address);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? `the answer was ${answer.status}`);
  return content;
}

export class Rejected extends Error {
  constructor(message, fields) {
    super(message);
    this.fields = fields ?? {};
  }
}

// Has the server do something; gives the id of the run to look at then.
export async function act(action, run, more = {}) {
  let answer;
  let content;
  try {
    answer = await fetch("flow/actions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ action, run, ...more }),
    });
    content = await answer.json();
  } catch {
    throw new Rejected("there is no answer");
  }
  if (!answer.ok) throw new Rejected(content.error ?? `the answer was ${answer.status}`, content.fields);
  return content.run;
}
