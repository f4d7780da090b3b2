// The page: its parts are made, the server is asked what it is, and what was being done goes on.

import { get } from "./api.js";
import { app, on, tell } from "./app.js";
import "./check.js";
import { makeDag } from "./dag.js";
import { byId } from "./dom.js";
import { takeDrops } from "./drop.js";
import { makeEditorPanel } from "./editorpanel.js";
import { follow, jobInAddress, unfollow } from "./follow.js";
import { makeGallery } from "./gallery.js";
import { makeGraphs } from "./graphs.js";
import { followJobs, makeJobs } from "./jobs.js";
import { makeKeys } from "./keys.js";
import { draft, load, openGraph, openJob } from "./load.js";
import { makePanels } from "./panels.js";
import { makeRunPanel } from "./runpanel.js";
import { connect } from "./socket.js";
import { makeTheme } from "./theme.js";
import { failed } from "./toasts.js";

const FIRST = "txt2img";
const CONNECTION = { connecting: "Connecting…", live: "Live", offline: "Not connected, trying again" };

makeTheme();
makePanels();
makeKeys();
makeEditorPanel();
makeDag();
makeRunPanel();
makeJobs();
makeGallery();
takeDrops();
start().catch(failed);

async function start() {
  const job = jobInAddress(); // Opening a graph leaves the job.
  app.server = await get("/v1/server");
  const types = await get("/v1/node-types");
  app.nodeTypes = new Map(types.node_types.map((type) => [type.name, type]));
  connect(connected);
  await makeGraphs();
  await resume(job);
  tell("run");
}

/** What this tab had before it was loaded anew; else the job that the address names; else a graph to begin with. */
async function resume(job) {
  const before = draft();
  if (job && before?.job !== job) return openJob(job);
  if (before?.text) load(before, false);
  else await openGraph(FIRST);
  if (job) follow(job);
}

let begun = false;

function connected(state) {
  const shown = byId("connection");
  shown.className = state;
  shown.textContent = CONNECTION[state];
  if (state === "live" && !begun) {
    begun = true;
    followJobs().catch((failure) => { begun = false; failed(failure); });
  }
}

on("deleted", () => unfollow());
addEventListener("hashchange", () => {
  const job = jobInAddress();
  if (job && job !== app.run?.job) openJob(job).catch(failed);
});
