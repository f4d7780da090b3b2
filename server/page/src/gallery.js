// The pictures of all one's jobs.

import { on } from "./app.js";
import { byId, el } from "./dom.js";
import { ago } from "./format.js";
import { icon } from "./icons.js";
import { picture } from "./images.js";
import { jobs, older, state } from "./jobs.js";
import { showPictures } from "./lightbox.js";
import { picturesOf } from "./outputs.js";
import { shown } from "./toasts.js";

let list;
let more;
let shape = "";

/** Puts the pictures into their panel. */
export function makeGallery() {
  list = el("ul", { class: "gallery-list" });
  more = el("button", { type: "button", class: "more", text: "Older pictures", on: { click: shown(() => older()) } });
  byId("gallery").append(el("h2", { text: "Gallery" }), list, more);
  on("jobs", draw);
  on("panel", draw);
}

function draw() {
  if (document.body.dataset.view !== "gallery") return;
  const entries = [...jobs.values()].flatMap((job) => picturesOf(job.outputs).map(({ name, file }) => ({ name, file, job: job.job, graph: job.graph, document: job })));
  more.hidden = !state.more;
  const next = JSON.stringify(entries.map(({ job, file }) => [job, file.url]));
  if (next === shape && list.children.length) return;
  shape = next;
  if (entries.length) list.replaceChildren(...entries.map((entry, index) => card(entry, () => showPictures(entries, index))));
  else list.replaceChildren(el("li", { class: "empty" }, icon("picture"), el("p", { text: "No pictures yet. What your runs draw is kept here, with the graph and params that drew it." })));
}

function card({ name, file, graph, document: { params, created } }, open) {
  return el("li", {}, el("button", { type: "button", class: "piece", on: { click: open } },
    picture(file.url, `${name} of ${graph}`),
    el("span", { class: "card-words" }, el("span", { class: "card-title", text: params?.prompt ?? graph }), el("span", { class: "muted", text: `${graph} · ${ago(created)}` }))));
}
