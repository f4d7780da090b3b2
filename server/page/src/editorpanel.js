// The editor with its name and buttons above, and the problems of the graph below.

import { app, may, on, unchanged } from "./app.js";
import { byId, el } from "./dom.js";
import { goTo, makeEditor } from "./editor.js";
import { count } from "./format.js";
import { save } from "./graphs.js";
import { icon } from "./icons.js";

const parts = {};

/** Puts them into their panel. */
export function makeEditorPanel() {
  parts.name = el("h2", { class: "graph-title" });
  parts.changed = el("span", { class: "muted changed" });
  parts.save = el("button", { type: "button", class: "quiet", on: { click: () => save(false) } }, icon("save"), "Save");
  parts.saveAs = el("button", { type: "button", class: "quiet", on: { click: () => save() } }, icon("save"), "Save as…");
  const place = el("div", { class: "code" });
  parts.summary = el("p", { class: "problems-summary", role: "status" });
  parts.list = el("ul", { class: "problems" });
  byId("editor").append(el("div", { class: "panel-head" }, parts.name, parts.changed, parts.save, parts.saveAs), place, el("div", { class: "problems-panel" }, parts.summary, parts.list));
  makeEditor(place);
  for (const event of ["graph", "text", "saved"]) on(event, title);
  on("check", problems);
  title();
}

function title() {
  parts.name.textContent = app.name || "Untitled";
  parts.changed.textContent = app.saved === null ? "not saved" : unchanged() ? "" : "changed";
  parts.save.hidden = !app.own || unchanged() || !may("submit");
  parts.saveAs.hidden = !may("submit");
}

function problems({ ok, diagnostics }) {
  const errors = diagnostics.filter(({ severity }) => severity === "error").length;
  const warnings = diagnostics.length - errors;
  parts.summary.className = `problems-summary ${errors ? "errors" : warnings ? "warnings" : "fine"}`;
  const text = ok && !diagnostics.length ? "No problems" : [errors && count(errors, "error"), warnings && count(warnings, "warning")].filter(Boolean).join(", ");
  if (parts.summary.textContent !== text) parts.summary.replaceChildren(icon(errors ? "error" : warnings ? "warning" : "check"), text);
  parts.list.hidden = diagnostics.length === 0;
  parts.list.replaceChildren(...diagnostics.map(problem));
}

function problem(each) {
  const words = [icon(each.severity === "error" ? "error" : "warning"), el("span", { class: "problem-words" }, el("span", { text: each.message }), ...each.notes.map(({ message }) => el("span", { class: "muted", text: message })), each.help && el("span", { class: "muted", text: each.help }))];
  const where = el("span", { class: "where", text: each.here ? `${each.line}:${each.column}` : each.line ? `${each.file}:${each.line}` : "" });
  if (!each.here) return el("li", { class: each.severity }, el("div", { class: "problem" }, ...words, where));
  const open = el("button", { type: "button", class: "problem", on: { click: () => goTo(each.line, each.column, each.end_line, each.end_column) } }, ...words, where);
  return el("li", { class: each.severity }, open);
}
