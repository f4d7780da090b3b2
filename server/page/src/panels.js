// Which panels can be seen: on wide screens a side panel and a view, on narrow ones one panel at a time.

import { tell } from "./app.js";
import { byId, el } from "./dom.js";
import { icon } from "./icons.js";

const TABS = [["graphs", "folder", "Graphs"], ["editor", "text", "Text"], ["dag", "graph", "Drawing"], ["run", "sliders", "Run"], ["jobs", "list", "Jobs"], ["gallery", "picture", "Gallery"]];
const HEIGHT = "latentgraph.drawing";

/** Makes the tabs and the switches work. */
export function makePanels() {
  const tabs = document.querySelector("nav.tabs");
  tabs.append(...TABS.map(([panel, sign, label]) => el("button", { type: "button", "data-panel": panel, on: { click: () => showPanel(panel) } }, icon(sign), el("span", { text: label }))));
  for (const button of document.querySelectorAll(".segments button")) button.addEventListener("click", () => showPanel(button.dataset.view ?? button.dataset.side));
  divide(byId("divider"));
  mark();
}

/** Shows a panel: graphs, jobs, editor, dag, run or gallery; `work` is the workbench. */
export function showPanel(panel) {
  const { dataset } = document.body;
  if (panel === "work") {
    if (dataset.panel === "gallery" || dataset.panel === "jobs" || dataset.panel === "graphs") dataset.panel = "run";
  } else dataset.panel = panel;
  if (panel === "graphs" || panel === "jobs") dataset.side = panel;
  else dataset.view = panel === "gallery" ? "gallery" : "work";
  mark();
  tell("panel", panel);
}

function mark() {
  const { dataset } = document.body;
  for (const button of document.querySelectorAll(".segments button, .tabs button")) {
    const key = ["view", "side", "panel"].find((each) => each in button.dataset);
    const on = button.dataset[key] === dataset[key];
    if (key === "panel") button.setAttribute("aria-current", on ? "true" : "false");
    else button.setAttribute("aria-pressed", on);
  }
}

/** The line between drawing and text, which can be moved, with the keyboard too. */
function divide(line) {
  const main = document.querySelector("main");
  const set = (share) => {
    const clamped = Math.min(0.85, Math.max(0.15, share));
    main.style.setProperty("--drawing", clamped);
    line.setAttribute("aria-valuenow", Math.round(clamped * 100));
    localStorage.setItem(HEIGHT, clamped);
    return clamped;
  };
  let share = set(Number(localStorage.getItem(HEIGHT)) || 0.44);
  line.addEventListener("pointerdown", (event) => {
    line.setPointerCapture(event.pointerId);
    const box = main.getBoundingClientRect();
    const move = ({ clientX, clientY }) => {
      const across = getComputedStyle(line).cursor === "col-resize";
      share = set(across ? (clientX - box.left) / box.width : (clientY - box.top) / box.height);
    };
    line.addEventListener("pointermove", move);
    line.addEventListener("lostpointercapture", () => line.removeEventListener("pointermove", move), { once: true });
  });
  line.addEventListener("keydown", ({ key }) => {
    const by = { ArrowUp: -0.04, ArrowLeft: -0.04, ArrowDown: 0.04, ArrowRight: 0.04 }[key];
    if (by) share = set(share + by);
  });
}
