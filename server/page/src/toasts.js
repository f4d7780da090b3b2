// Short messages in a corner, and errors among them.

import { byId, el } from "./dom.js";
import { icon } from "./icons.js";

const STAYS = 6000;
const STAYS_WITH_ACTION = 12000;

/** Shows a message; `kind` is info or error; `actions` are `[label, what to do]` pairs. */
export function toast(message, { kind = "info", actions = [] } = {}) {
  const shown = el("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" },
    icon(kind === "error" ? "error" : "check"),
    el("p", { text: message }),
    ...actions.map(([label, act]) => el("button", { type: "button", class: "link", text: label, on: { click: () => { gone(); act(); } } })),
    el("button", { type: "button", class: "quiet icon-only", "aria-label": "Dismiss", on: { click: () => gone() } }, icon("close")),
  );
  const gone = () => shown.remove();
  let timer;
  const leave = () => {
    clearTimeout(timer);
    timer = setTimeout(gone, actions.length || kind === "error" ? STAYS_WITH_ACTION : STAYS);
  };
  // What is being read or reached for stays.
  for (const begin of ["pointerenter", "focusin"]) shown.addEventListener(begin, () => clearTimeout(timer));
  for (const end of ["pointerleave", "focusout"]) shown.addEventListener(end, leave);
  leave();
  byId("toasts").append(shown);
}

/** Shows what went wrong, with the first of its diagnostics. */
export function failed(failure) {
  if (failure.name === "AbortError") return;
  const [first] = failure.diagnostics ?? [];
  const message = failure.message.charAt(0).toUpperCase() + failure.message.slice(1);
  toast(first && !message.includes(first.message) ? `${message}: ${first.message}` : message, { kind: "error" });
}

/** `work` as a listener whose errors are shown. */
export const shown = (work) => async (...given) => {
  try {
    await work(...given);
  } catch (failure) {
    failed(failure);
  }
};
