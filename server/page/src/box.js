// One node as it is drawn: its name and type, its state, time and progress, and its latest picture.

import { svg } from "./dom.js";
import { seconds } from "./format.js";

export const WIDTH = 160;
const HEIGHT = 56;
const PICTURE = 112;

export const STATES = {
  waiting: "waiting", running: "running", computed: "computed", reused: "reused", failed: "failed", skipped: "skipped", none: "not run",
};

const SIGNS = {
  computed: "M-3.4 .3l2.400 2.500 4.500-5",
  reused: "M-3.200-1.800A3.700 3.700 0 113.400 1.500M-3.700-4v2.500h2.500",
  failed: "M-2.600-2.600l5.200 5.200M2.600-2.600l-5.200 5.200",
  skipped: "M-3.200 0h6.400",
};

/** How large a box is; one with a picture is higher. */
export const sizeOf = (pictured) => ({ width: WIDTH, height: HEIGHT + (pictured ? PICTURE : 0) });

const measure = document.createElement("canvas").getContext("2d");

/** A text cut to a width, in pixels. */
function cut(text, width, font) {
  measure.font = font;
  if (measure.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && measure.measureText(`${text.slice(0, end)}…`).width > width) end--;
  return `${text.slice(0, end)}…`;
}

/** The elements of a box, and `update` that shows a state on them. */
export function drawBox(box) {
  const name = box.node.split("/").at(-1);
  const sign = svg("g", { class: "sign", transform: "translate(20 21)" });
  const time = svg("text", { class: "box-time", x: WIDTH - 12, y: 25, "text-anchor": "end" });
  const label = svg("text", { class: "box-name", x: 36, y: 25 });
  const type = svg("text", { class: "box-type", x: 36, y: 42, text: `${cut(box.title, WIDTH - 50, "12px system-ui, sans-serif")} ` });
  const card = svg("rect", { class: "card", width: WIDTH, rx: 10 });
  const bar = svg("rect", { class: "bar", x: 12, height: 3, rx: 1.5 });
  const track = svg("rect", { class: "track", x: 12, width: WIDTH - 24, height: 3, rx: 1.5 });
  const picture = svg("image", { x: 10, y: HEIGHT - 4, width: WIDTH - 20, height: PICTURE - 6, preserveAspectRatio: "xMidYMid meet" });
  const group = svg("g", { class: "box", role: "button", tabindex: -1, "data-node": box.node }, card, sign, label, type, time, track, bar, picture);
  let drawn = null;

  function update(status, url) {
    const { state } = status;
    group.setAttribute("class", `box ${state}`);
    if (drawn !== state) sign.replaceChildren(...signOf(state));
    drawn = state;
    const words = said(status);
    time.textContent = `${words} `;
    measure.font = "11px system-ui, sans-serif";
    label.textContent = `${cut(name, WIDTH - 36 - 18 - (words ? measure.measureText(words).width + 6 : 0), "600 13px system-ui, sans-serif")} `;
    const { height } = sizeOf(url);
    card.setAttribute("height", height);
    const share = state === "running" ? shareOf(status) : null;
    for (const part of [track, bar]) {
      part.setAttribute("y", height - 7);
      part.toggleAttribute("hidden", share === null);
    }
    bar.setAttribute("width", (WIDTH - 24) * (share ?? 0));
    picture.toggleAttribute("hidden", !url);
    if (url && picture.getAttribute("href") !== url) picture.setAttribute("href", url);
    // What is seen comes first, so that it can be said to choose the box; then what it stands for.
    const seen = [label, type, time].map((each) => each.textContent.trim()).filter(Boolean).join(" ");
    group.setAttribute("aria-label", [seen, STATES[state], box.node === label.textContent.trim() ? "" : box.node].filter(Boolean).join(", "));
  }

  return { group, update };
}

/** How much of a box is done, 0 to 1; null where that is not known. */
function shareOf({ step, steps, done, total }) {
  if (!steps && total <= 1) return null;
  return Math.min(1, (done + (steps ? step / steps : 0)) / Math.max(1, total));
}

/** A few words about a state: `2 of 3`, `9/20`, `0.4 s`. */
function said(status) {
  const { state, done, total } = status;
  if (total > 1 && (state === "running" || (state === "waiting" && done > 0) || done < total)) return state === "waiting" && !done ? "" : `${done} of ${total}`;
  if (state === "running") return status.steps ? `${status.step}/${status.steps}` : status.started ? seconds(Math.max(0, Date.now() / 1000 - status.started)) : "";
  if (state === "computed") return total > 1 ? `${total}×` : seconds(status.seconds ?? 0);
  if (state === "reused" && total > 1) return `${total}×`;
  return "";
}

function signOf(state) {
  if (state === "none") return [svg("circle", { class: "sign-back", r: 4 })];
  if (state === "waiting") return [svg("circle", { class: "sign-back", r: 7 })];
  if (state === "running") return [svg("circle", { class: "sign-back", r: 7 }), svg("path", { class: "spin", d: "M0-7A7 7 0 017 0" })];
  return [svg("circle", { class: "sign-back", r: 8 }), svg("path", { class: "sign-mark", d: SIGNS[state] })];
}
