// Graphs into the editor: from the server, from jobs, from files. What was there can be had back.

import { ApiError, get, graphPath } from "./api.js";
import { app, on, tell, unchanged } from "./app.js";
import { debounced } from "./dom.js";
import { setText } from "./editor.js";
import { follow } from "./follow.js";
import { pngTexts } from "./png.js";
import { toast } from "./toasts.js";

const DRAFT = "latentgraph.draft";

/** Puts a graph into the editor. `saved` is its text on the server, if it is there under this name. */
export function load({ text, name = "", own = false, saved = null, given = {} }, say = true) {
  const before = { text: app.text, name: app.name, own: app.own, saved: app.saved, given: app.given };
  const precious = say && app.text.trim() !== "" && !unchanged() && app.text !== text;
  setText(text);
  Object.assign(app, { name, own, saved, given, check: null });
  tell("graph");
  keep();
  if (precious) toast(`Opened ${name || "the graph"} in place of what you had changed.`, { actions: [["Back", () => load(before, false)]] });
}

let asked = 0;

/** What is asked for last is opened, whichever answer comes last; gives false for what was overtaken. */
async function opened(fetched, then = () => {}) {
  const mine = ++asked;
  const graph = await fetched;
  if (mine !== asked) return false;
  load(graph);
  then();
  return true;
}

/** Opens one of the server's graphs. */
export const openGraph = (name) => opened(get(graphPath(name)).then(({ text, own }) => ({ text, name, own, saved: text })));

/** Opens a job's graph and params, and follows the job. */
export const openJob = (job) => opened(graphOf(job), () => follow(job));

async function graphOf(job) {
  const { graph, name, params } = await get(`/v1/jobs/${job}/graph`);
  return { text: graph, name, given: params ?? {}, ...(await known(name, graph)) };
}

/** Whether this text is a graph of the server: `saved` and `own` of it. */
async function known(name, text) {
  if (!app.graphs.has(name)) return {};
  try {
    const graph = await get(graphPath(name));
    return graph.text === text ? { saved: text, own: graph.own } : {};
  } catch (failure) {
    if (failure instanceof ApiError) return {};
    throw failure;
  }
}

/** Opens a graph file, or a picture that was drawn by one; gives false for a picture that does not tell its graph. */
export async function openFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const texts = await pngTexts(bytes);
  if (texts?.["latentgraph.graph"]) {
    const text = texts["latentgraph.graph"];
    const name = texts["latentgraph.name"] ?? "";
    await opened(known(name, text).then((more) => ({ text, name, given: JSON.parse(texts["latentgraph.params"] ?? "{}"), ...more })));
    toast(`Opened the graph and params of ${file.name}.`);
    return true;
  }
  if (/\.ya?ml$/i.test(file.name)) {
    await opened({ text: new TextDecoder().decode(bytes), name: file.name.replace(/\.ya?ml$/i, "") });
    toast(`Opened ${file.name}.`);
    return true;
  }
  return false;
}

/** What was being written in this tab before it was loaded anew. */
export function draft() {
  return JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
}

function keep() {
  const { text, name, own, saved, given } = app;
  sessionStorage.setItem(DRAFT, JSON.stringify({ text, name, own, saved, given, job: app.run?.job ?? null }));
}

for (const event of ["text", "given", "submitted"]) on(event, debounced(keep, 200));
addEventListener("pagehide", () => app.text && keep());
