// The graphs of the server, and one's own among them.

import { get, graphPath, remove, send } from "./api.js";
import { app, may, on, tell } from "./app.js";
import { byId, el } from "./dom.js";
import { icon } from "./icons.js";
import { load, openFile, openGraph } from "./load.js";
import { showPanel } from "./panels.js";
import { confirm, prompt } from "./dialogs.js";
import { shown, toast } from "./toasts.js";

const NEW = `latentgraph: 1
description: ""
nodes:
  model: {type: LoadModel, inputs: {name: builtin}}
  wanted:
    type: CLIPEncode
    inputs:
      clip: $model.clip
      text: "a red apple"
outputs: {}
`;

let graphs = [];
const parts = {};

/** Puts the list into its panel. */
export async function makeGraphs() {
  parts.search = el("input", { type: "search", id: "graph-search", placeholder: "Search graphs", "aria-label": "Search graphs", autocomplete: "off", on: { input: list } });
  parts.list = el("div", { class: "graph-list" });
  parts.chooser = el("input", { type: "file", hidden: true, accept: ".yaml,.yml,.png", tabindex: -1, "aria-hidden": "true", on: { change: shown(opened) } });
  byId("graphs").append(
    el("div", { class: "search" }, icon("search"), parts.search),
    parts.list,
    el("div", { class: "side-actions" },
      el("button", { type: "button", on: { click: () => { load({ text: NEW, name: "" }); showPanel("editor"); } } }, icon("plus"), "New"),
      el("button", { type: "button", title: "A graph file, or a picture that latentgraph drew", on: { click: () => parts.chooser.click() } }, icon("folder"), "Open file"), parts.chooser),
  );
  on("graph", mark);
  await refresh();
}

export const focusSearch = () => parts.search.focus();

async function opened() {
  const [file] = parts.chooser.files;
  parts.chooser.value = "";
  if (file && !(await openFile(file))) toast(`${file.name} tells no graph.`, { kind: "error" });
}

async function refresh() {
  ({ graphs } = await get("/v1/graphs"));
  app.graphs = new Set(graphs.map(({ name }) => name));
  list();
}

function list() {
  const words = parts.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ name, description }) => words.every((word) => `${name} ${description}`.toLowerCase().includes(word));
  const own = graphs.filter((graph) => graph.own && fits(graph));
  const shipped = graphs.filter((graph) => !graph.own && fits(graph));
  parts.list.replaceChildren(...section("Yours", own), ...section(own.length ? "That ship" : "", shipped));
  if (!own.length && !shipped.length) parts.list.append(el("p", { class: "muted none", text: words.length ? "No graph is called so." : "There are no graphs yet." }));
  mark();
}

function section(title, entries) {
  if (!entries.length) return [];
  return [title && el("h2", { text: title }), el("ul", {}, ...entries.map(item))].filter(Boolean);
}

function item(graph) {
  const open = el("button", { type: "button", class: "graph", "data-name": graph.name, on: { click: shown(async () => { await openGraph(graph.name); showPanel("work"); }) } },
    el("span", { class: "graph-name", text: graph.name }), graph.description && el("span", { class: "muted", text: graph.description }));
  const trash = graph.own && may("submit") && el("button", { type: "button", class: "quiet icon-only", "aria-label": `Delete ${graph.name}`, title: "Delete", on: { click: shown(() => discard(graph.name)) } }, icon("trash"));
  return el("li", {}, open, trash);
}

function mark() {
  for (const button of parts.list.querySelectorAll(".graph")) button.setAttribute("aria-current", button.dataset.name === app.name && app.saved !== null ? "true" : "false");
}

async function discard(name) {
  if (!(await confirm(`Delete ${name}?`, "The graph is deleted from the server. What it drew stays.", "Delete"))) return;
  await remove(graphPath(name));
  if (app.name === name) Object.assign(app, { saved: null, own: false });
  await refresh();
  toast(`Deleted ${name}.`);
}

/** Saves the text under a name; asks for one unless it is one's own graph already. */
export const save = shown(async (ask = true) => {
  if (!may("submit")) return;
  const name = !ask && app.own && app.name ? app.name : await prompt("Save as", "Name", app.own ? app.name : suggestion(), "Save");
  if (!name) return;
  const { text } = app;
  await send("PUT", graphPath(name), { body: text, headers: { "Content-Type": "application/yaml" } });
  Object.assign(app, { name, own: true, saved: text });
  tell("saved");
  await refresh();
  toast(`Saved ${name}.`);
});

function suggestion() {
  const base = (app.name || "graph").replace(/^.*\//, "");
  for (let number = 1; ; number++) {
    const name = number === 1 && !app.graphs.has(base) ? base : `my-${base}${number > 1 ? `-${number}` : ""}`;
    if (!app.graphs.has(name)) return name;
  }
}
