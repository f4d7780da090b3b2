// A picture at full size, with where it comes from.

import { get } from "./api.js";
import { el } from "./dom.js";
import { ago, bytes, plain } from "./format.js";
import { icon } from "./icons.js";
import { download, pictureOf } from "./images.js";
import { openJob } from "./load.js";
import { showPanel } from "./panels.js";
import { failed, shown } from "./toasts.js";

/** Shows one of several pictures, `{name, file, job, graph}`, large; arrow keys go on to the others. */
export function showPictures(entries, index) {
  let at = index;
  const image = el("img", { class: "large" });
  const about = el("div", { class: "about" });
  const step = (by, name, label) => el("button", { type: "button", class: "quiet icon-only step", "aria-label": label, on: { click: () => go(by) } }, icon(name));
  const close = el("button", { type: "button", class: "quiet icon-only close", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"));
  const steps = entries.length > 1 ? [step(-1, "left", "The one before"), step(1, "right", "The next one")] : [];
  const dialog = el("dialog", { class: "lightbox", "aria-label": "Picture" }, el("div", { class: "stage" }, steps[0], image, steps[1]), about, close);

  function go(by) {
    at = (at + by + entries.length) % entries.length;
    show();
  }

  async function show() {
    const entry = entries[at];
    const { file, job, graph, name } = entry;
    image.alt = `${name} of ${graph}`;
    about.replaceChildren(head(entry, entries.length > 1 ? `${at + 1} of ${entries.length}` : null), actions(file, job));
    try {
      const [url, document] = await Promise.all([pictureOf(file.url), get(`/v1/jobs/${job}`)]);
      if (entries[at] !== entry) return;
      image.src = url;
      about.append(params(document), el("p", { class: "muted", text: [ago(document.created), bytes(file.size), job].join(" · ") }));
    } catch (failure) {
      failed(failure);
    }
  }

  function actions(file, job) {
    return el("div", { class: "actions" },
      el("button", { type: "button", class: "primary", on: { click: shown(async () => { dialog.close(); showPanel("work"); await openJob(job); }) } }, icon("edit"), "Open in editor"),
      el("button", { type: "button", on: { click: shown(() => download(file)) } }, icon("download"), "Download"));
  }

  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && entries.length > 1) go(by);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.className === "stage") dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
  show();
}

function head({ graph, name }, place) {
  return el("header", {}, el("h2", { text: graph }), el("p", { class: "muted", text: [name, place].filter(Boolean).join(" · ") }));
}

function params({ params }) {
  const given = Object.entries(params ?? {});
  if (!given.length) return el("p", { class: "muted", text: "Drawn with the graph's own params." });
  return el("dl", {}, ...given.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: plain(value) })]));
}
