// Params, the button that runs the graph, how the run is getting on, and what it gave.

import { post } from "./api.js";
import { app, may, on } from "./app.js";
import { byId, el } from "./dom.js";
import { makeForm } from "./form.js";
import { count, seconds } from "./format.js";
import { follow, runGraph } from "./follow.js";
import { icon } from "./icons.js";
import { showOutputs } from "./outputs.js";
import { failed, shown } from "./toasts.js";

const MODIFIER = /Mac|iP/.test(navigator.platform) ? "⌘" : "Ctrl";
const WORDS = { queued: "Waiting in the queue", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };

const NARROW = matchMedia("(max-width: 900px)");
const parts = {};
let sending = false;

/** Puts it all into its panel. */
export function makeRunPanel() {
  const panel = byId("run");
  const scroll = el("div", { class: "params-scroll", tabindex: -1 }, el("h2", { text: "Params" }));
  makeForm(scroll);
  parts.run = el("button", { type: "button", class: "primary", id: "run-button", on: { click: () => run() } }, icon("run"), "Run", el("kbd", { text: `${MODIFIER} ↵`, "aria-hidden": "true" }));
  parts.cancel = el("button", { type: "button", id: "cancel-button", on: { click: () => cancel() } }, icon("stop"), "Cancel");
  parts.status = el("div", { class: "run-status", role: "status" });
  parts.bar = el("progress", { class: "run-bar", max: 1, "aria-label": "Nodes that have ended", hidden: true });
  parts.result = el("section", { class: "result", "aria-label": "Result" });
  parts.scroll = el("div", { class: "result-scroll", tabindex: -1 }, parts.status, parts.bar, parts.result);
  panel.append(scroll, el("div", { class: "run-row" }, parts.run, parts.cancel), parts.scroll);
  for (const event of ["run", "check", "graph"]) on(event, update);
  setInterval(() => app.run?.state === "running" && update(), 500);
  update();
}

/** Runs the graph as it is. */
export async function run() {
  if (sending || parts.run.disabled) return;
  sending = true;
  update();
  try {
    await runGraph();
    if (NARROW.matches) parts.scroll.scrollIntoView();
  } catch (failure) {
    failed(failure);
  } finally {
    sending = false;
    update();
  }
}

export const cancel = shown(async () => {
  const { run } = app;
  if (!run || run.over || run.cancelling) return;
  run.cancelling = true;
  update();
  try {
    await post(`/v1/jobs/${run.job}/cancel`);
  } catch (failure) {
    run.cancelling = false;
    throw failure;
  }
});

function update() {
  const { run, check } = app;
  parts.run.disabled = sending || !may("submit") || !app.text.trim() || check?.ok === false;
  parts.cancel.hidden = !run || run.over;
  parts.cancel.disabled = run?.cancelling ?? false;
  showStatus(run);
  showOutputs(parts.result, run);
}

function showStatus(run) {
  parts.bar.hidden = run?.state !== "running";
  if (!run) {
    parts.status.replaceChildren();
    return;
  }
  const counts = run.counts();
  const ended = counts.computed + counts.reused + counts.failed + counts.skipped;
  const total = Math.max(app.check?.boxes.length ?? 0, run.nodes.size);
  parts.bar.value = total ? ended / total : 0;
  const details = run.over
    ? [run.seconds !== null && seconds(run.seconds), counts.computed && `${counts.computed} computed`, counts.reused && `${counts.reused} reused`, counts.failed && `${counts.failed} failed`, counts.skipped && `${counts.skipped} skipped`]
    : [run.state === "running" && `${ended} of ${count(total, "node")}`, run.started && seconds(Math.max(0, Date.now() / 1000 - run.started))];
  const head = run.cancelling && !run.over ? "Cancelling" : run.interrupted ? "Interrupted, begins again" : WORDS[run.state];
  const text = [head, ...details.filter(Boolean)].join(" · ");
  const failure = run.failure();
  const message = failure?.error ?? run.error;
  const again = run.over && run.state !== "done";
  // Only a change of state is worth announcing.
  if (parts.status.firstChild?.textContent !== text || parts.status.dataset.state !== run.state) {
    parts.status.dataset.state = run.state;
    parts.status.setAttribute("aria-live", run.over ? "polite" : "off");
    parts.status.replaceChildren(...[
      el("p", { class: `state-text ${run.state}`, text }),
      run.state === "failed" && message && el("pre", { class: "wrong", text: failure ? `${failure.address}: ${message}` : message }),
      again && may("submit") && el("button", { type: "button", class: "link", text: "Try again", on: { click: shown(async () => follow((await post(`/v1/jobs/${run.job}/retry`)).job)) } }),
    ].filter(Boolean));
  }
}
