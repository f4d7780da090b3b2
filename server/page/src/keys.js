// Keyboard shortcuts, and the dialog that lists them.

import { ask } from "./dialogs.js";
import { byId, el, typing } from "./dom.js";
import { focusSearch, save } from "./graphs.js";
import { icon } from "./icons.js";
import { showPanel } from "./panels.js";
import { cancel, run } from "./runpanel.js";

const MODIFIER = /Mac|iP/.test(navigator.platform) ? "⌘" : "Ctrl";
const SHORTCUTS = [
  [[MODIFIER, "Enter"], "Run the graph"],
  [[MODIFIER, "."], "Cancel the run"],
  [[MODIFIER, "S"], "Save the graph"],
  [["/"], "Search graphs"],
  [["?"], "Show these shortcuts"],
  [["Ctrl", "Space"], "Complete, in the text"],
  [["Esc", "Tab"], "Leave the text"],
  [["←", "↑", "↓", "→"], "Move between nodes, in the drawing"],
  [["Enter"], "Go to a node in the text, from the drawing"],
  [["+", "−", "0"], "Zoom, and fit the drawing into view"],
];

/** Listens to them. */
export function makeKeys() {
  const help = byId("help");
  help.append(icon("help"));
  help.addEventListener("click", list);
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const modified = event.ctrlKey || event.metaKey;
    const act = modified ? { Enter: run, ".": cancel, s: () => save(false) }[event.key] : typing(event) ? null : { "?": list, "/": search }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }, true);
}

function search() {
  showPanel("graphs");
  focusSearch();
}

function list() {
  const rows = SHORTCUTS.flatMap(([keys, what]) => [el("dt", {}, ...keys.flatMap((key, index) => [index > 0 && " ", el("kbd", { text: key })]).filter(Boolean)), el("dd", { text: what })]);
  ask("Keyboard shortcuts", [el("dl", { class: "shortcuts" }, ...rows)], [el("button", { class: "primary", value: "", text: "Close" })]);
}
