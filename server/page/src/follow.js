// Following a job: its events, progress and previews go into a Run, its name into the address of the page.

import { submit } from "./api.js";
import { app, graphForServer, on, tell, unchanged } from "./app.js";
import { eachFrame } from "./dom.js";
import { Run } from "./run.js";
import { subscribe } from "./socket.js";
import { failed } from "./toasts.js";

let stop = () => {};
const told = eachFrame(() => tell("run"));

/** Follows a job from its first event, and leaves the one before. */
export function follow(job) {
  if (app.run?.job === job) return;
  unfollow(false);
  const run = (app.run = new Run(job));
  history.replaceState(null, "", `#job=${job}`);
  stop = subscribe({ job }, {
    event: (event) => { run.event(event); told(); },
    progress: (progress) => { run.progress(progress); told(); },
    preview: ({ node }, picture) => { run.preview(node, picture); told(); },
    reset: () => { run.reset(); told(); },
    failed: (failure) => {
      if (app.run === run) unfollow();
      failed(failure);
    },
  });
  tell("run");
}

/** Follows nothing. */
export function unfollow(say = true) {
  stop();
  stop = () => {};
  app.run?.clear();
  app.run = null;
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  if (say) tell("run");
}

/** The job that the address of the page names. */
export const jobInAddress = () => /^#job=([\w-]+)$/.exec(location.hash)?.[1] ?? null;

/** Sends the graph and its params to the queue, and follows the job. */
export async function runGraph() {
  const known = new Set(app.check?.params.map(({ name }) => name));
  const params = Object.fromEntries(Object.entries(app.given).filter(([name]) => known.has(name)));
  const name = unchanged() || !app.name ? {} : { name: app.name };
  const { job } = await submit({ graph: graphForServer(), params, ...name });
  follow(job);
  tell("submitted", job);
}

on("graph", () => unfollow());
