// One's own jobs, newest first, kept up to date by their events, and the queue they stand in.

import { get, post, remove } from "./api.js";
import { app, may, on, tell } from "./app.js";
import { byId, el } from "./dom.js";
import { confirm } from "./dialogs.js";
import { ago, plain, seconds } from "./format.js";
import { icon } from "./icons.js";
import { picture } from "./images.js";
import { openJob } from "./load.js";
import { picturesOf } from "./outputs.js";
import { showPanel } from "./panels.js";
import { subscribe } from "./socket.js";
import { failed, shown } from "./toasts.js";

const PAGE = 40;
const OVER = new Set(["done", "failed", "cancelled"]);
const FEED = { feed: "mine" };

/** Job documents by name, newest first, and how far each running one is. */
export const jobs = new Map();
const progress = new Map();
export const state = { more: false };
const parts = {};
const drawn = new Map();
let stop = () => {};

/** Puts the list into its panel. */
export function makeJobs() {
  parts.words = el("p");
  parts.workers = el("ul", { class: "workers", "aria-label": "Workers" });
  parts.toggle = el("button", { type: "button", class: "quiet", hidden: true });
  parts.list = el("ul", { class: "job-list" });
  parts.more = el("button", { type: "button", class: "more", text: "Older jobs", on: { click: shown(() => older()) } });
  byId("jobs").append(el("div", { class: "queue" }, parts.words, parts.workers, parts.toggle), parts.list, parts.more);
  on("run", mark);
  on("graph", mark);
  setInterval(() => document.visibilityState === "visible" && draw(), 30_000);
}

/** Takes the jobs as they are now, and follows what becomes of them; to be called when the connection is there. */
export async function followJobs() {
  stop();
  stop = subscribe(FEED, {
    event: (event) => received(event).catch(() => {}),
    progress: (each, job) => { progress.set(job, each); update(job); },
    reset: () => newest().catch(failed),
  }, await recently());
  await newest();
}

/** A place in the feed that is not long ago: the last event of the newest job. */
async function recently() {
  const { jobs: [job] } = await get("/v1/jobs?limit=1");
  if (!job) return 0;
  const { events } = await get(`/v1/jobs/${job.job}/events?after=${job.last - 1}`);
  return events[0]?.cursor ?? 0;
}

async function newest() {
  const { jobs: list, more } = await get(`/v1/jobs?limit=${PAGE}`);
  jobs.clear();
  for (const job of list) jobs.set(job.job, job);
  state.more = more;
  draw();
  tell("jobs");
  await queue();
}

/** Adds the jobs before the oldest that is known. */
export async function older() {
  const last = [...jobs.keys()].at(-1);
  const { jobs: list, more } = await get(`/v1/jobs?limit=${PAGE}&before=${last}`);
  for (const job of list) jobs.set(job.job, job);
  state.more = more;
  draw();
  tell("jobs");
}

async function received(event) {
  const known = jobs.get(event.job);
  if (event.event === "output" && known) known.outputs = { ...known.outputs, [event.name]: event.value };
  if (event.event === "run_started" && known) Object.assign(known, { state: "running", started: event.time });
  if (event.event === "interrupted" && known) Object.assign(known, { state: "queued" });
  if (["queued", "run_finished"].includes(event.event)) {
    progress.delete(event.job);
    const job = await get(`/v1/jobs/${event.job}`);
    if (jobs.has(job.job)) jobs.set(job.job, job);
    else prepend(job);
    tell("jobs");
  }
  if (["queued", "run_started", "run_finished", "interrupted"].includes(event.event)) {
    draw();
    await queue();
  } else if (event.event === "output") update(event.job);
}

function prepend(job) {
  const before = [...jobs.values()];
  jobs.clear();
  for (const each of [job, ...before].sort((a, b) => b.created - a.created)) jobs.set(each.job, each);
}

async function queue() {
  const { queued, running, paused, workers } = await get("/v1/queue");
  const words = paused ? "The queue is paused" : running || queued ? [running && `${running} running`, queued && `${queued} waiting`].filter(Boolean).join(", ") : "Nothing is waiting";
  parts.toggle.replaceChildren(icon(paused ? "run" : "pause"), paused ? "Resume" : "Pause");
  parts.toggle.onclick = shown(async () => { await post("/v1/queue", { paused: !paused }); await queue(); });
  parts.toggle.hidden = !may("admin");
  parts.words.textContent = words;
  parts.workers.replaceChildren(...workers.map((worker) => el("li", { class: worker.state, title: `Worker ${worker.worker} is ${worker.state}` }, el("span", { class: "unseen", text: `Worker ${worker.worker}: ${worker.state}` }))));
}

function draw() {
  const names = new Set(jobs.keys());
  for (const name of drawn.keys()) if (!names.has(name)) drawn.delete(name);
  const rows = [...jobs.keys()].map((name) => update(name));
  if (!rows.length) parts.list.replaceChildren(el("li", { class: "empty" }, icon("list"), el("p", { text: "No jobs yet. Run a graph, and it is kept here." })));
  else if (rows.length !== parts.list.children.length || rows.some((row, index) => row !== parts.list.children[index])) parts.list.replaceChildren(...rows);
  parts.more.hidden = !state.more;
  const active = [...jobs.values()].filter((job) => !OVER.has(job.state)).length;
  byId("active-jobs").hidden = active === 0;
  byId("active-jobs").textContent = active;
}

/** Brings a job's row up to date, and gives it. */
function update(name) {
  const job = jobs.get(name);
  if (!job) return null;
  if (!drawn.has(name)) drawn.set(name, { row: el("li", { class: "job" }), shape: "" });
  const entry = drawn.get(name);
  const step = progress.get(name);
  const current = app.run?.job === name;
  const shape = JSON.stringify([job, step, current, ago(job.created)]);
  if (entry.shape === shape) return entry.row;
  entry.shape = shape;
  const focused = entry.row.contains(document.activeElement) ? document.activeElement.dataset.do : null;
  entry.row.replaceChildren(...content(job, step, current));
  if (focused) (entry.row.querySelector(`[data-do="${focused}"]`) ?? entry.row.querySelector("button"))?.focus();
  return entry.row;
}

function content(job, step, current) {
  const [first] = picturesOf(job.outputs);
  const over = OVER.has(job.state);
  const times = over && job.started && job.finished ? seconds(job.finished - job.started) : null;
  const subject = job.params?.prompt ?? Object.entries(job.params ?? {}).map(([name, value]) => `${name} ${plain(value)}`).join(", ");
  const words = job.cancelling && !over ? "cancelling" : job.state === "queued" && job.position ? `${job.position} before it` : job.state;
  const open = el("button", { type: "button", class: "job-open", "data-do": "open", "aria-current": current ? "true" : "false", on: { click: shown(async () => { await openJob(job.job); showPanel("work"); }) } },
    el("span", { class: "thumb" }, first ? picture(first.file.url, "") : el("span", { class: `dot ${job.state}` })),
    el("span", { class: "job-words" },
      el("span", { class: "job-name", text: job.graph }),
      subject && el("span", { class: "muted", text: subject }),
      el("span", { class: "job-state" }, el("span", { class: `state-text ${job.state}`, text: words }), el("span", { class: "muted", text: [times, ago(job.created)].filter(Boolean).join(" · ") }))));
  const bar = job.state === "running" && step?.steps ? el("progress", { value: step.step, max: step.steps, "aria-label": `${step.node}` }) : null;
  return [open, el("div", { class: "job-actions" }, ...actions(job, over)), bar].filter(Boolean);
}

function actions(job, over) {
  const button = (name, label, act) => el("button", { type: "button", class: "quiet icon-only", "data-do": label, "aria-label": `${label} ${job.graph}`, title: label, on: { click: shown(act) } }, icon(name));
  if (!may("submit")) return [];
  if (!over) return job.cancelling ? [] : [button("stop", "Cancel", async () => { await post(`/v1/jobs/${job.job}/cancel`); job.cancelling = true; update(job.job); })];
  return [
    button("again", "Run again", async () => { const { job: next } = await post(`/v1/jobs/${job.job}/retry`); await openJob(next); }),
    button("trash", "Delete", () => discard(job)),
  ];
}

async function discard({ job, graph }) {
  if (!(await confirm(`Delete this job of ${graph}?`, "Its pictures and other outputs are deleted, too.", "Delete"))) return;
  await remove(`/v1/jobs/${job}`);
  jobs.delete(job);
  if (app.run?.job === job) tell("deleted");
  draw();
  tell("jobs");
}

function mark() {
  for (const name of jobs.keys()) update(name);
}
