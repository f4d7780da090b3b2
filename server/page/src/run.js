// What is known of one job's run, from its events.

const OVER = new Set(["done", "failed", "cancelled"]);
const ENDED = ["failed", "computed", "reused", "skipped"];

/** The address of a node without the numbers of elements: the box it is drawn as. */
export const boxOf = (address) => address.split("/").filter((part) => !/^\d+$/.test(part)).join("/");

export class Run {
  constructor(job) {
    this.job = job;
    this.graph = "";
    this.state = "queued";
    this.cancelling = false;
    this.reset();
  }

  /** Nothing is known any more; the events come again from the first. */
  reset() {
    this.outputs = {};
    this.error = null;
    this.interrupted = false;
    this.log = [];
    this.seconds = null;
    this.clear();
  }

  /** A run begins: its nodes have done nothing yet. */
  clear() {
    for (const url of this.previews?.values() ?? []) URL.revokeObjectURL(url);
    this.started = null;
    this.nodes = new Map();
    this.previews = new Map();
    this.uses = new Map();
  }

  get over() {
    return OVER.has(this.state);
  }

  event(event) {
    switch (event.event) {
      case "queued":
        this.state = "queued";
        this.graph = event.graph;
        break;
      case "run_started":
        this.clear();
        this.state = "running";
        this.started = event.time;
        this.interrupted = false;
        break;
      case "node_started":
        this.#set(event.node, { state: "running", type: event.type, started: event.time });
        break;
      case "node_finished":
        this.#set(event.node, { state: event.status, seconds: event.seconds, error: event.error, reason: event.reason });
        break;
      case "log":
        this.log.push(event);
        break;
      case "output":
        this.outputs[event.name] = event.value;
        break;
      case "interrupted":
        this.state = "queued";
        this.interrupted = true;
        this.clear();
        break;
      case "run_finished":
        this.state = event.status;
        this.outputs = { ...this.outputs, ...event.outputs };
        this.error = event.error ?? null;
        this.seconds = this.started === null ? null : event.time - this.started;
        break;
    }
  }

  progress(progress) {
    const node = this.nodes.get(progress.node);
    if (node && node.state !== "running") return;
    this.#set(progress.node, { ...node, state: "running", step: progress.step, steps: progress.steps, message: progress.message });
  }

  /** The latest picture of a node, as a blob; the one before is forgotten. */
  preview(node, blob) {
    const box = boxOf(node);
    if (this.previews.has(box)) URL.revokeObjectURL(this.previews.get(box));
    this.previews.set(box, URL.createObjectURL(blob));
  }

  #set(address, node) {
    const box = boxOf(address);
    if (!this.nodes.has(address)) this.uses.set(box, [...(this.uses.get(box) ?? []), address]);
    this.nodes.set(address, node);
  }

  /** How many nodes came to which end. */
  counts() {
    const counts = { computed: 0, reused: 0, failed: 0, skipped: 0, running: 0 };
    for (const { state } of this.nodes.values()) counts[state] = (counts[state] ?? 0) + 1;
    return counts;
  }

  /** The node of an address that failed, and what it said. */
  failure() {
    for (const [address, node] of this.nodes) if (node.state === "failed" && node.error) return { address, error: node.error };
    return null;
  }

  /**
   * What is drawn on a box: its state, how many of its uses (`total`, at least `expected`) have ended, and seconds,
   * steps and messages of them. A group that ended as a whole, being skipped for instance, speaks for its boxes.
   */
  box(name, expected = 1) {
    const uses = (this.uses.get(name) ?? []).map((address) => this.nodes.get(address));
    if (uses.length === 0) {
      for (let end = name.lastIndexOf("/"); end > 0; end = name.lastIndexOf("/", end - 1)) {
        const whole = this.nodes.get(name.slice(0, end));
        if (whole && ENDED.includes(whole.state)) return { ...whole, done: 0, total: 0 };
      }
      return { state: this.over ? "none" : "waiting", done: 0, total: expected };
    }
    const ended = uses.filter((use) => use.state !== "running");
    const running = uses.find((use) => use.state === "running");
    const total = Math.max(expected, uses.length);
    const among = (state) => uses.find((use) => use.state === state);
    let state = "waiting";
    if (among("failed")) state = "failed";
    else if (running) state = this.over ? "none" : "running";
    else if (ended.length >= total || this.over) state = ENDED.find(among);
    return {
      state,
      done: ended.length,
      total,
      seconds: ended.reduce((sum, use) => sum + (use.seconds ?? 0), 0),
      started: running?.started,
      step: running?.step,
      steps: running?.steps,
      message: running?.message,
      error: among("failed")?.error,
      reason: uses.find((use) => use.reason)?.reason,
    };
  }

  /** How many times the most used of these boxes is used: each of a group is used as often. */
  most(names) {
    return Math.max(1, ...names.map((name) => this.uses.get(name)?.length ?? 0));
  }
}
