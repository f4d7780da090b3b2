// One websocket to the server. It comes back by itself, and subscriptions go on where they were: each keeps the epoch
// and the last position it has seen, drops what is not above it, and asks again where something is missing.

import { ApiError, newToken, token } from "./api.js";

const PATIENCE = 15_000;
const LONGEST_PAUSE = 10_000;

let socket = null;
let ready = false;
let epoch = null;
let requests = 0;
let pause = 250;
let timer;
let tellState = () => {};
/** What a reply is waited for, by the number of the request. */
const waiting = new Map();
/** Subscriptions that are wanted, and those the server knows, by the number of the request that made them. */
const wanted = new Set();
const active = new Map();

/** Connects, and stays connected; `onState` is told connecting, live or offline. */
export function connect(onState) {
  tellState = onState;
  addEventListener("online", soon);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible") return;
    if (ready) request({ do: "jobs", limit: 1 }).catch(() => {}); // A connection that died in its sleep is found out.
    else soon();
  });
  open();
}

/**
 * Follows a job (`{job}`) or all of one's own (`{feed: "mine"}`). The listener may have `event`, `progress`, `preview`,
 * `reset` (what was told before is void), `end` and `failed`. Gives a function that stops it.
 */
export function subscribe(target, listener, after = 0) {
  const subscription = { target, listener, after, epoch: null, id: null };
  wanted.add(subscription);
  if (ready) begin(subscription);
  return () => {
    wanted.delete(subscription);
    leave(subscription);
  };
}

function request(frame) {
  const id = ++requests;
  return requestAs(id, frame);
}

function requestAs(id, frame) {
  return new Promise((resolve, reject) => {
    const to = socket;
    const patience = setTimeout(() => to?.close(), PATIENCE);
    waiting.set(id, { resolve, reject, patience });
    to.send(JSON.stringify({ id, ...frame }));
  });
}

function open() {
  clearTimeout(timer);
  tellState("connecting");
  const address = new URL("/v1/ws", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const opened = (socket = new WebSocket(address, "latentgraph.v1"));
  opened.binaryType = "arraybuffer";
  opened.onopen = () => greet(opened);
  opened.onmessage = ({ data }) => (typeof data === "string" ? received(JSON.parse(data)) : receivedPreview(data));
  opened.onclose = ({ code }) => closed(opened, code);
}

async function greet(opened) {
  try {
    const server = await request({ do: "hello", ...(token() ? { token: token() } : {}) });
    epoch = server.epoch;
    ready = true;
    pause = 250;
    tellState("live");
    for (const subscription of wanted) begin(subscription);
  } catch (failure) {
    if (failure.code === "unauthorized") opened.refused = true;
    opened.close();
  }
}

async function closed(old, code) {
  if (old !== socket) return;
  ready = false;
  active.clear();
  for (const { reject, patience } of waiting.values()) {
    clearTimeout(patience);
    reject(new ApiError({ code: "unreachable", message: "the connection was lost", temporary: true }));
  }
  waiting.clear();
  tellState("offline");
  if (old.refused || code === 4401) {
    const used = token();
    try {
      await newToken(used !== "");
    } catch {
      return;
    }
    return open();
  }
  timer = setTimeout(open, pause * (0.75 + Math.random() / 2));
  pause = Math.min(pause * 2, LONGEST_PAUSE);
}

function soon() {
  if (!socket || socket.readyState < WebSocket.CLOSING) return;
  pause = 250;
  open();
}

async function begin(subscription) {
  const { target, listener } = subscription;
  const id = ++requests;
  leave(subscription);
  subscription.id = id;
  active.set(id, subscription);
  try {
    const from = subscription.epoch ? { after: subscription.after, epoch: subscription.epoch } : { after: subscription.after };
    await requestAs(id, { do: "subscribe", ...target, ...from, previews: "job" in target });
    subscription.epoch = epoch;
  } catch (failure) {
    if (failure.code === "unreachable" || subscription.id !== id) return;
    active.delete(id);
    if (failure.code === "gone" && (subscription.after > 0 || subscription.epoch)) {
      subscription.after = failure.first - 1;
      subscription.epoch = null;
      listener.reset?.();
      if (wanted.has(subscription)) begin(subscription);
    } else {
      wanted.delete(subscription);
      listener.failed?.(failure);
    }
  }
}

/** The server is told that nobody listens; frames that are on their way are dropped. */
function leave(subscription) {
  if (subscription.id === null || !active.delete(subscription.id)) return;
  if (ready) request({ do: "unsubscribe", sub: subscription.id }).catch(() => {});
}

function received(frame) {
  if (frame.id !== undefined && waiting.has(frame.id)) {
    const { resolve, reject, patience } = waiting.get(frame.id);
    waiting.delete(frame.id);
    clearTimeout(patience);
    if (frame.error) reject(new ApiError(frame.error));
    else resolve(frame.ok);
    return;
  }
  const subscription = active.get(frame.sub);
  if (!subscription) return;
  const { listener } = subscription;
  if (frame.event) receivedEvent(subscription, frame);
  else if (frame.progress) listener.progress?.(frame.progress, frame.job);
  else if (frame.bookmark !== undefined) subscription.after = Math.max(subscription.after, frame.bookmark);
  else if (frame.end) {
    wanted.delete(subscription);
    active.delete(frame.sub);
    listener.end?.();
  }
}

function receivedEvent(subscription, event) {
  const ofJob = "job" in subscription.target;
  const position = ofJob ? event.seq : event.cursor;
  if (position <= subscription.after) return;
  if (ofJob && position > subscription.after + 1) {
    begin(subscription);
    return;
  }
  subscription.after = position;
  subscription.listener.event(event);
}

function receivedPreview(data) {
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  if (header.type !== "preview") return;
  active.get(header.sub)?.listener.preview?.(header, new Blob([new Uint8Array(data, 4 + length)], { type: header.media }));
}
