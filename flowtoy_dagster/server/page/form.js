// Running a run again, with other parameters: a field for each, as the flow declares it.

import { act, askJson } from "./api.js";
import { $, make, makeButton, write } from "./dom.js";

const TYPES = {
  string: "text", integer: "a whole number", number: "a number", boolean: "true or false",
  list: "a list, as JSON", object: "a mapping, as JSON",
};
const NULL = "\u0000"; // what no text is

export async function openForm(address, run, open) {
  const dialog = $("form");
  const title = make("h2", "", "Run again");
  title.id = "form-title";
  const waiting = make("p", "quiet", "…");
  dialog.replaceChildren(title, waiting);
  dialog.showModal();
  try {
    const { params, now } = await askJson(address);
    if (!waiting.isConnected) return; // it was closed, and opened for another run
    dialog.replaceChildren(title, new Form(params, now, run, open).element);
    dialog.querySelector("input, select, textarea, button.first")?.focus();
  } catch (error) {
    if (!waiting.isConnected) return;
    dialog.replaceChildren(title, make("p", "outage", `The parameters can't be read: ${error.message}`), buttons());
  }
}

function buttons(first) {
  const line = make("div", "actions");
  if (first) line.append(first);
  line.append(makeButton("", first ? "Cancel" : "Close", () => $("form").close()));
  return line;
}

class Form {
  #fields;
  #params;
  #run;
  #open;
  #flow = "then"; // or "now": what the files hold now

  constructor(params, now, run, open) {
    this.#params = { then: params, now: now?.params ?? [] };
    this.#run = run;
    this.#open = open;
    this.element = make("form");
    this.element.noValidate = true; // the server checks, and says why
    this.trouble = make("p", "outage");
    this.trouble.setAttribute("role", "alert");
    this.trouble.hidden = true;
    this.told = make("p", "quiet");
    this.holder = make("div");
    this.submit = make("button", "first", "Run");
    this.element.append(...(now ? this.#makeChoice(now) : []), this.told, this.trouble, this.holder, buttons(this.submit));
    this.#fill();
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  #fill() {
    const params = this.#params[this.#flow];
    this.#fields = params.map((param) => new Field(param));
    this.holder.replaceChildren(...this.#fields.map((field) => field.element));
    write(this.told, params.length
      ? "All steps run. Fields that you do not change have the values of this run."
      : "All steps run. This flow has no parameters.");
    this.trouble.hidden = true;
  }

  // The files of the flow have changed since: what is to run?
  #makeChoice({ told, usable }) {
    if (!usable) return [make("p", "quiet", `What ran then is run. ${told}`)];
    const set = make("fieldset", "choice");
    set.append(make("legend", "", told));
    for (const [flow, text] of [["then", "Run what ran then"], ["now", "Run the file as it is now"]]) {
      const label = make("label", "none");
      const input = make("input");
      input.type = "radio";
      input.name = "flow";
      input.value = flow;
      input.checked = flow === this.#flow;
      input.addEventListener("change", () => { this.#flow = flow; this.#fill(); });
      label.append(input, ` ${text}`);
      set.append(label);
    }
    return [set];
  }

  async #send() {
    const params = {};
    for (const field of this.#fields) {
      field.complain("");
      const text = field.text();
      if (text !== undefined) params[field.name] = text;
    }
    this.trouble.hidden = true;
    this.submit.disabled = true;
    try {
      const run = await act("again", this.#run, { params, flow: this.#flow });
      $("form").close();
      this.#open(run);
    } catch (error) {
      this.#complain(error);
    }
    this.submit.disabled = false;
  }

  #complain({ message, fields = {} }) {
    const known = this.#fields.filter((field) => field.name in fields);
    for (const field of known) field.complain(fields[field.name]);
    known[0]?.input.focus();
    if (known.length && known.length === Object.keys(fields).length) return;
    write(this.trouble, message);
    this.trouble.hidden = false;
  }
}

let count = 0;

class Field {
  #param;
  #before;

  constructor(param) {
    this.#param = param;
    this.name = param.name;
    const id = `param-${(count += 1)}`;
    this.input = this.#makeInput();
    this.input.id = id;
    const label = make("label", "", param.name);
    label.htmlFor = id;
    const hint = make("span", "hint", this.#hint());
    hint.id = `${id}-hint`;
    this.error = make("p", "wrong");
    this.error.id = `${id}-error`;
    this.input.setAttribute("aria-describedby", `${hint.id} ${this.error.id}`);
    this.input.required = param.required && !param.given;
    this.element = make("div", "field");
    this.element.append(label, hint);
    if (param.description) this.element.append(make("p", "description", param.description));
    this.element.append(this.input, this.error);
    if (param.nullable && this.input.tagName !== "SELECT") this.element.append(this.#makeNull());
    this.#before = this.#now();
  }

  #hint() {
    const { type, secret, required, default: value, variable } = this.#param;
    const told = [TYPES[type] ?? type];
    if (secret) told.push("secret");
    if (required) told.push("required");
    else if (!secret && value !== null) told.push(`default ${value.length > 60 ? `${value.slice(0, 60)}…` : value || "empty"}`);
    if (variable) told.push(`if empty, the variable ${variable}`);
    return told.join(" · ");
  }

  #makeInput() {
    const { type, enum: values, text, nullable, secret, given } = this.#param;
    if (secret) {
      const input = make("input");
      input.type = "password";
      input.autocomplete = "off";
      input.placeholder = given ? "as it was" : "";
      return input;
    }
    const choices = values ?? (type === "boolean" ? ["true", "false"] : null);
    if (choices) {
      const select = make("select");
      if (nullable) select.append(new Option("no value", NULL));
      else if (text === null) select.append(new Option("choose", ""));
      for (const choice of choices) select.append(new Option(choice, choice));
      select.value = text ?? (nullable ? NULL : "");
      return select;
    }
    const isLong = ["list", "object"].includes(type) || (text ?? "").includes("\n");
    const input = make(isLong ? "textarea" : "input");
    if (["integer", "number"].includes(type)) input.inputMode = "decimal";
    if (isLong) input.rows = Math.min(8, 2 + (text ?? "").split("\n").length);
    input.spellcheck = false;
    input.autocomplete = "off";
    input.value = text ?? "";
    return input;
  }

  #makeNull() {
    const label = make("label", "none");
    this.none = make("input");
    this.none.type = "checkbox";
    this.none.checked = this.#param.text === null;
    this.input.disabled = this.none.checked;
    this.none.addEventListener("change", () => { this.input.disabled = this.none.checked; });
    label.append(this.none, " no value");
    return label;
  }

  #now() {
    return this.none?.checked ? NULL : this.input.value;
  }

  // What was chosen, null for no value; undefined where it is left as it was.
  text() {
    const now = this.#now();
    if (now === this.#before) return undefined;
    return now === NULL ? null : now;
  }

  complain(reason) {
    write(this.error, reason);
    this.input.setAttribute("aria-invalid", String(reason !== ""));
  }
}
