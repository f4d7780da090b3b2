// A field for a param: what is typed or chosen becomes a value of the param's type; `undefined` is the graph's default.

import { upload } from "./api.js";
import { el } from "./dom.js";
import { bytes, plain } from "./format.js";
import { icon } from "./icons.js";
import { picture } from "./images.js";
import { shown } from "./toasts.js";

const MOST_SEED = 2 ** 31;
const PICTURES = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff";
const FILES = new Set(["File", "Image", "Mask"]);
const uploads = new Map();

/** What a param takes: int, float, str, bool, file, or a list of one of these. */
export function kindOf(type) {
  const options = type.split(" | ").filter((each) => each !== "none");
  const [first] = options;
  if (options.every((each) => FILES.has(each))) return "file";
  if (options.includes("str")) return "str";
  if (/^\[(int|float|str|bool)\]$/.test(first) && options.length === 1) return first;
  return ["int", "float", "bool"].includes(first) && options.length === 1 ? first : "str";
}

/** The names of the params that take a file. */
export const fileParams = (params) => params.filter(({ type }) => kindOf(type) === "file").map(({ name }) => name);

/**
 * The control of a param: `{element, focusable, wide, show(value)}`. `change(value)` is called when the user changes it;
 * `value` is what is given, undefined where nothing is.
 */
export function fieldOf(param, id, value, change) {
  const kind = kindOf(param.type);
  if (param.choices?.length) return choice(param, id, value, change);
  if (kind === "bool") return checkbox(param, id, value, change);
  if (kind === "file") return file(param, id, value, change);
  if (kind === "int" || kind === "float") return number(param, kind, id, value, change);
  return text(param, kind, id, value, change);
}

const shownDefault = (param) => (param.default === undefined ? "required" : param.default === null ? "none" : plain(param.default));

function choice(param, id, value, change) {
  const same = (wanted) => param.choices.findIndex((each) => each === wanted);
  const optional = param.default === null;
  const select = el("select", { id, on: { change: () => change(select.value === "" ? undefined : param.choices[select.value]) } },
    (optional || param.default === undefined) && el("option", { value: "", text: optional ? "none" : "choose…" }),
    ...param.choices.map((each, index) => el("option", { value: index, text: plain(each) })));
  const show = (next) => {
    const index = same(next ?? param.default);
    select.value = index < 0 ? "" : index;
  };
  show(value);
  return { element: select, focusable: select, show };
}

function checkbox(param, id, value, change) {
  const box = el("input", { id, type: "checkbox", class: "switch", on: { change: () => change(box.checked) } });
  const show = (next) => { box.checked = Boolean(next ?? param.default); };
  show(value);
  return { element: box, focusable: box, show };
}

function number(param, kind, id, value, change) {
  const { minimum, maximum } = param;
  const bounded = kind === "float" && minimum !== undefined && maximum !== undefined;
  const read = (typed) => (typed === "" || !Number.isFinite(Number(typed)) ? undefined : kind === "int" ? whole(typed) : Number(typed));
  const field = el("input", {
    id, type: "number", min: minimum, max: maximum, step: kind === "int" ? 1 : "any", inputmode: kind === "int" ? "numeric" : "decimal",
    placeholder: shownDefault(param), on: { input: () => { change(read(field.value)); slide(); } },
  });
  const slider = bounded && el("input", {
    type: "range", min: minimum, max: maximum, step: (maximum - minimum) / 100, tabindex: -1, "aria-hidden": "true",
    on: { input: () => { field.value = Number(Number(slider.value).toPrecision(4)); change(Number(field.value)); } },
  });
  const slide = () => slider && (slider.value = field.value === "" ? (param.default ?? minimum) : field.value);
  const die = kind === "int" && /seed/i.test(param.name) && el("button", {
    type: "button", class: "quiet icon-only", "aria-label": `Random ${param.name}`, title: "Random",
    on: { click: () => { field.value = Math.floor(Math.random() * MOST_SEED); change(Number(field.value)); } },
  }, icon("die"));
  const show = (next) => {
    const now = next ?? (typeof param.default === "number" ? param.default : undefined);
    if (document.activeElement !== field || read(field.value) !== now) field.value = now ?? "";
    slide();
  };
  show(value);
  return { element: el("div", { class: "with-more" }, slider, field, die), focusable: field, show };
}

/** A whole number; one that the browser's numbers cannot hold stays as it was typed, and the server says what it thinks. */
function whole(typed) {
  const value = Number(typed);
  return Number.isSafeInteger(value) ? value : Number.isInteger(value) ? typed : value;
}

function text(param, kind, id, value, change) {
  const list = kind.startsWith("[");
  const words = kind === "[str]";
  const written = (each) => (each === undefined || each === null ? "" : list ? [each].flat().map(plain).join(words ? "\n" : ", ") : plain(each));
  const long = words || /prompt|text|caption/i.test(param.name) || written(param.default).length > 40 || written(value).length > 40 || written(value).includes("\n");
  const field = el(long ? "textarea" : "input", {
    id, rows: long ? 1 : null, type: long ? null : "text", spellcheck: long && !list ? "true" : "false", autocomplete: "off",
    placeholder: param.default === "" ? "" : shownDefault(param) === "none" ? "none" : param.default === undefined ? "required" : null,
    on: { input: () => change(read()) },
  });
  function read() {
    const typed = field.value;
    if (!list) return typed === "" && (param.default === null || param.default === undefined) ? undefined : typed;
    if (!typed.trim()) return param.default === null || param.default === undefined ? undefined : [];
    const items = words ? typed.split("\n").filter((line) => line.trim()) : typed.split(",").map((each) => each.trim()).filter(Boolean);
    return words ? items : items.map((item) => (kind === "[bool]" ? { true: true, false: false }[item] ?? item : Number.isFinite(Number(item)) ? Number(item) : item));
  }
  const show = (next) => {
    const now = next === undefined ? param.default : next;
    if (document.activeElement !== field || JSON.stringify(read()) !== JSON.stringify(now)) field.value = written(now);
  };
  show(value);
  return { element: field, focusable: field, wide: long, show };
}

function file(param, id, value, change) {
  const chooser = el("input", { id, type: "file", accept: PICTURES, class: "chooser", on: { change: shown(async () => { if (chooser.files[0]) await take(chooser.files[0]); chooser.value = ""; }) } });
  const name = el("span", { class: "file-name" });
  const thumb = el("span", { class: "file-thumb" });
  const hint = el("span", { class: "muted", text: "Choose a file, or drop one here" });
  const zone = el("label", { class: "file-zone" }, chooser, thumb, el("span", { class: "file-words" }, name, hint));
  for (const type of ["dragenter", "dragover"]) zone.addEventListener(type, (event) => { event.preventDefault(); zone.classList.add("over"); });
  for (const type of ["dragleave", "drop"]) zone.addEventListener(type, () => zone.classList.remove("over"));
  zone.addEventListener("drop", shown(async (event) => {
    const [dropped] = event.dataTransfer.files;
    if (!dropped) return;
    event.preventDefault();
    event.stopPropagation();
    document.body.classList.remove("dropping");
    await take(dropped);
  }));
  async function take(chosen) {
    zone.classList.add("busy");
    try {
      const known = await upload(chosen);
      uploads.set(known.upload, known);
      change(known.upload);
      show(known.upload);
    } finally {
      zone.classList.remove("busy");
    }
  }
  const show = (next) => {
    const now = next ?? param.default;
    const known = uploads.get(now);
    const digest = /^upload:([0-9a-f]{64})$/.exec(now)?.[1];
    name.textContent = known ? `${known.name || "upload"} · ${bytes(known.size)}` : digest ? "an uploaded file" : now === null || now === undefined ? "none" : plain(now);
    thumb.replaceChildren(digest && (!known || known.media.startsWith("image/")) ? picture(`/v1/uploads/${digest}`, "") : icon("picture"));
  };
  show(value);
  return { element: zone, focusable: chooser, wide: true, show };
}

/** Remembers what an upload is called, for the field that shows it. */
export const remember = (known) => uploads.set(known.upload, known);
