// The graph as a drawing, with what a run does on it.

import { app, on } from "./app.js";
import { drawBox, sizeOf } from "./box.js";
import { byId, eachFrame, el, svg } from "./dom.js";
import { goToNode } from "./editor.js";
import { icon } from "./icons.js";
import { loadedPicture, pictureOf } from "./images.js";
import { layout } from "./layout.js";
import { outline } from "./outline.js";
import { panZoom } from "./panzoom.js";
import { makeTip } from "./tip.js";

const NOT_RUN = { state: "none", done: 0, total: 1 };

let boxes = [];
let links = [];
let drawn = new Map();
let placed = null;
let view;
let shape = "";
/** Where the boxes' pictures are: previews of the run, and outputs, which come from the boxes that give them. */
let pictures = new Map();
const parts = { down: false };

/** Puts the drawing into its panel. */
export function makeDag() {
  parts.content = svg("g");
  parts.frame = svg("svg", { class: "dag", role: "group", "aria-label": "Nodes; arrow keys move between them, Enter goes to one in the text" }, parts.content);
  parts.empty = el("p", { class: "empty", text: "The graph is drawn here once it can be read." });
  parts.tip = makeTip(parts.frame, (node) => ({ box: boxes.find((box) => box.node === node), links: links.filter(({ target }) => target === node), status: statusOf(node), picture: pictures.get(node) }));
  const button = (name, label, act) => el("button", { type: "button", class: "quiet icon-only", "aria-label": label, title: label, on: { click: act } }, icon(name));
  byId("dag").append(
    parts.frame,
    parts.empty,
    el("div", { class: "dag-tools" }, button("minus", "Zoom out", () => view.zoom(0.8)), button("plus", "Zoom in", () => view.zoom(1.25)), button("fit", "Fit into view", () => view.fit())),
  );
  new ResizeObserver(turn).observe(parts.frame);
  view = panZoom(parts.frame, parts.content, () => placed);
  parts.frame.addEventListener("click", (event) => {
    const node = nodeOf(event);
    if (node && !parts.frame.classList.contains("moving")) goToNode(node);
  });
  parts.frame.addEventListener("keydown", keyed);
  parts.frame.addEventListener("focusin", (event) => marked(nodeOf(event)));
  parts.frame.addEventListener("focusout", () => marked(null));
  parts.frame.addEventListener("pointerover", (event) => marked(nodeOf(event)));
  parts.frame.addEventListener("pointerleave", () => marked(null));
  on("check", (check) => {
    parts.frame.classList.toggle("stale", !check.ok);
    // What cannot be drawn just now stays as it was, unless it was another graph.
    if (check.ok || check.boxes.length || !parts.begun) [boxes, links] = [check.boxes, check.links];
    parts.begun = true;
    draw();
  });
  on("run", show);
  on("graph", () => { shape = ""; parts.begun = false; });
  setInterval(() => app.run?.state === "running" && show(), 500);
}

const nodeOf = (event) => event.target.closest?.(".box")?.getAttribute("data-node") ?? null;

function draw() {
  const sources = outputSources();
  const next = JSON.stringify([boxes, links, [...pictures.keys()]]);
  if (next === shape) return show();
  const graph = JSON.stringify([boxes.map(({ node }) => node)]);
  const same = graph === parts.graph;
  [shape, parts.graph, parts.sources] = [next, graph, sources];
  parts.empty.hidden = boxes.length > 0;
  if (!boxes.length) {
    parts.content.replaceChildren();
    placed = null;
    return;
  }
  placed = layout(boxes, links, (box) => sizeOf(pictures.has(box.node)), parts.down);
  const frames = placed.frames.map(({ group, x, y, width, height }) => svg("g", { class: "frame" },
    svg("rect", { x, y, width, height, rx: 14 }), svg("text", { x: x + 14, y: y + 21, text: group })));
  parts.links = placed.paths.map(({ link, points }) => ({ link, path: svg("path", { class: "link", d: curve(points, parts.down) }) }));
  const focused = document.activeElement?.getAttribute?.("data-node");
  drawn = new Map(boxes.map((box) => [box.node, drawn.get(box.node)?.title === box.title ? drawn.get(box.node) : { ...drawBox(box), title: box.title }]));
  for (const [node, { x, y }] of placed.areas) drawn.get(node).group.style.transform = `translate(${x}px, ${y}px)`;
  parts.content.replaceChildren(...frames, ...parts.links.map(({ path }) => path), ...[...drawn.values()].map(({ group }) => group));
  reachable(focused && drawn.has(focused) ? focused : boxes[0].node);
  if (focused && drawn.has(focused)) drawn.get(focused).group.focus();
  if (same) view.refit();
  else view.fit(true);
  show();
}

/** A smooth line through points: out to the right, in from the left; or down. */
function curve(points, down) {
  let path = `M${points[0].join(" ")}`;
  for (let index = 1; index < points.length; index++) {
    const [x0, y0] = points[index - 1];
    const [x1, y1] = points[index];
    const bend = (down ? y1 - y0 : x1 - x0) / 2;
    path += down ? `C${x0} ${y0 + bend} ${x1} ${y1 - bend} ${x1} ${y1}` : `C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`;
  }
  return path;
}

/** Where there is little room beside each other, the graph goes down. */
function turn() {
  const { clientWidth: width, clientHeight: height } = parts.frame;
  const down = width > 0 ? width < 560 && width < height : parts.down;
  if (down === parts.down) return;
  parts.down = down;
  shape = "";
  draw();
  view.fit(true);
}

function statusOf(node) {
  if (!app.run) return NOT_RUN;
  const { group } = boxes.find((box) => box.node === node) ?? {};
  const folder = node.slice(0, node.lastIndexOf("/") + 1);
  const siblings = folder && group ? boxes.filter((box) => box.node.startsWith(folder)).map((box) => box.node) : [node];
  return app.run.box(node, app.run.most(siblings));
}

/** Shows the run on the boxes; one that got its first picture is higher, so that the drawing is made anew. */
const show = eachFrame(() => {
  const before = pictures.size;
  pictures = new Map(app.run?.previews ?? []);
  if (app.run) for (const [name, value] of Object.entries(app.run.outputs)) outputPicture(name, value);
  if (pictures.size !== before || [...pictures.keys()].some((node) => !shape.includes(`"${node}"`))) {
    draw();
    if (JSON.stringify([boxes, links, [...pictures.keys()]]) !== shape) return;
  }
  for (const [node, box] of drawn) box.update(statusOf(node), pictures.get(node));
  for (const { link, path } of parts.links ?? []) path.classList.toggle("active", drawn.get(link.target) !== undefined && statusOf(link.target).state === "running");
  parts.tip.update();
});

function outputSources() {
  return new Map(outline(app.text).outputs.map(({ name, source }) => [name, source?.node]));
}

function outputPicture(name, value) {
  const file = [value].flat().find((each) => each?.media?.startsWith("image/"));
  const node = parts.sources?.get(name);
  if (!file || !drawn.has(node)) return;
  const url = loadedPicture(file.url);
  if (url) pictures.set(node, url);
  else pictureOf(file.url).then(show, () => {});
}

function marked(node) {
  parts.frame.classList.toggle("marking", node !== null);
  for (const { link, path } of parts.links ?? []) path.classList.toggle("marked", link.source === node || link.target === node);
}

function reachable(node) {
  for (const [name, { group }] of drawn) group.setAttribute("tabindex", name === node ? 0 : -1);
}

function keyed(event) {
  const node = nodeOf(event);
  const to = { "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8), 0: () => view.fit() }[event.key];
  if (to && !event.ctrlKey && !event.metaKey) return to();
  if (!node || !placed) return undefined;
  if (event.key === "Enter" || event.key === " ") {
    if (event.ctrlKey || event.metaKey) return undefined;
    event.preventDefault();
    return goToNode(node);
  }
  const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
  if (!way) return undefined;
  event.preventDefault();
  const next = nearest(node, way);
  if (!next) return undefined;
  reachable(next);
  drawn.get(next).group.focus();
  return view.reveal(placed.areas.get(next));
}

/** The box that is nearest in a direction. */
function nearest(node, [dx, dy]) {
  const middle = ({ x, y, width, height }) => [x + width / 2, y + height / 2];
  const [x, y] = middle(placed.areas.get(node));
  let best = null;
  let least = Infinity;
  for (const [name, area] of placed.areas) {
    const [ox, oy] = middle(area);
    const along = (ox - x) * dx + (oy - y) * dy;
    if (name === node || along < 8) continue;
    const distance = along + 2.5 * Math.abs((ox - x) * dy + (oy - y) * dx);
    if (distance < least) [best, least] = [name, distance];
  }
  return best;
}
