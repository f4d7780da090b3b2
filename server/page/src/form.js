// The form that a graph's params make.

import { app, on, tell } from "./app.js";
import { el } from "./dom.js";
import { fieldOf } from "./fields.js";
import { icon } from "./icons.js";

let form;
let rows = new Map();
let shape = "";

/** Puts the form into `parent`. */
export function makeForm(parent) {
  form = el("form", { class: "params", "aria-label": "Params", novalidate: true, on: { submit: (event) => event.preventDefault() } });
  parent.append(form);
  on("check", (check) => {
    build(check);
    mark(check);
  });
  on("graph", () => { shape = ""; });
}

/** Gives a param a value, as if it was typed. */
export function give(name, value) {
  set(name, value);
  rows.get(name)?.show(value);
}

export const focusForm = () => form.querySelector("input, textarea, select")?.focus();

function set(name, value) {
  const { [name]: _, ...others } = app.given;
  const param = app.check?.params.find((each) => each.name === name);
  const isDefault = value === undefined || (param?.default !== undefined && JSON.stringify(value) === JSON.stringify(param.default));
  app.given = isDefault ? others : { ...others, [name]: value };
  rows.get(name)?.changed(!isDefault);
  tell("given");
}

function build({ params, ok }) {
  if (!ok && params.length === 0 && shape !== "") return; // A graph that cannot be read just now keeps its form.
  const next = JSON.stringify(params);
  if (next === shape) return;
  shape = next;
  const focused = form.contains(document.activeElement) ? document.activeElement.id : null;
  rows = new Map(params.map((param) => [param.name, row(param)]));
  form.replaceChildren(...arranged([...rows.values()]));
  if (params.length === 0) form.append(el("p", { class: "muted", text: ok ? "This graph has no params." : "The params are shown once the graph can be read." }));
  if (focused) document.getElementById(focused)?.focus();
}

/** Two short fields stand side by side; one that would stand alone takes the whole line. */
function arranged(all) {
  for (let index = 0; index < all.length; index++) {
    if (all[index].wide) continue;
    if (all[index + 1] && !all[index + 1].wide) index++;
    else all[index].element.classList.add("wide");
  }
  return all.map(({ element }) => element);
}

function row(param) {
  const id = `param-${param.name}`;
  const field = fieldOf(param, id, app.given[param.name], (value) => set(param.name, value));
  const wrong = el("p", { class: "wrong", id: `${id}-wrong`, hidden: true });
  const hint = param.description && el("p", { class: "hint", id: `${id}-hint`, text: param.description });
  const back = el("button", {
    type: "button", class: "quiet icon-only back", "aria-label": `Back to the graph's ${param.name}`, title: "Back to the graph's value",
    on: { click: () => { give(param.name, undefined); field.focusable.focus(); } },
  }, icon("undo"));
  const element = el("div", { class: `field${field.wide ? " wide" : ""}` },
    el("div", { class: "field-head" }, el("label", { for: id, text: param.name }), back), field.element, hint, wrong);
  field.focusable.setAttribute("aria-describedby", [hint && hint.id, wrong.id].filter(Boolean).join(" "));
  const changed = (is) => { back.hidden = !is; };
  changed(app.given[param.name] !== undefined);
  return { element, changed, wide: field.wide, show: field.show, wrong: (message) => {
    wrong.textContent = message ?? "";
    wrong.hidden = !message;
    field.focusable.setAttribute("aria-invalid", message ? "true" : "false");
  } };
}

/** Says beside each field what the checker thinks of its value. */
function mark({ diagnostics }) {
  for (const [name, row] of rows) {
    const found = diagnostics.find(({ path, line }) => !line && (path === `params.${name}` || path === name));
    row.wrong(found && found.message.replace(/^params: /, "") + (found.help ? ` (${found.help})` : ""));
  }
}
