// What a run gave: pictures, other files, plain values.

import { app } from "./app.js";
import { el } from "./dom.js";
import { bytes } from "./format.js";
import { icon } from "./icons.js";
import { download, picture } from "./images.js";
import { showPictures } from "./lightbox.js";
import { shown } from "./toasts.js";

export const isPicture = (value) => Boolean(value?.media?.startsWith("image/"));
const isFile = (value) => Boolean(value?.file && value.url);

/** The pictures among a job's outputs, `{name, file}`. */
export function picturesOf(outputs) {
  return Object.entries(outputs ?? {}).flatMap(([name, value]) => [value].flat().filter(isPicture).map((file) => ({ name, file })));
}

/** Shows the outputs of a run in `place`, unless they are shown there already. */
export function showOutputs(place, run) {
  const shape = run ? JSON.stringify([run.job, run.outputs, run.over]) : app.text.trim() ? "none" : "nothing";
  if (place.dataset.shape === shape) return;
  place.dataset.shape = shape;
  const outputs = Object.entries(run?.outputs ?? {});
  if (outputs.length) place.replaceChildren(...outputs.map(([name, value]) => output(name, value, run)));
  else if (run?.over) place.replaceChildren(el("p", { class: "muted", text: run.state === "done" ? "The run gave no outputs." : "" }));
  else if (run) place.replaceChildren(el("div", { class: "result-space", "aria-hidden": "true" }));
  else place.replaceChildren(el("div", { class: "empty" }, icon("picture"), el("p", { text: "What a run gives appears here." })));
}

function output(name, value, run) {
  const items = [value].flat();
  const pictures = items.filter(isPicture);
  const files = items.filter((each) => isFile(each) && !isPicture(each));
  const plain = pictures.length || files.length ? null : value;
  return el("figure", { class: "output" },
    el("figcaption", { text: name }),
    pictures.length > 0 && el("div", { class: pictures.length > 1 ? "pictures several" : "pictures" }, ...pictures.map((file, index) => opener(name, file, pictures, index, run))),
    ...files.map((file) => el("button", { type: "button", class: "file", on: { click: shown(() => download(file)) } }, icon("download"), el("span", { text: file.file }), el("span", { class: "muted", text: bytes(file.size) }))),
    plain !== null && el("pre", { class: "value", tabindex: 0, text: typeof plain === "string" ? plain : JSON.stringify(plain, null, 2) }),
  );
}

function opener(name, file, all, index, run) {
  const entries = () => all.map((each) => ({ name, file: each, job: run.job, graph: run.graph }));
  return el("button", { type: "button", class: "picture", "aria-label": `Open ${name}${all.length > 1 ? ` ${index + 1}` : ""}`, on: { click: () => showPictures(entries(), index) } },
    picture(file.url, `${name} of ${run.graph}`));
}
