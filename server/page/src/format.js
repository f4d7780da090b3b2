// Numbers and times, in words.

/** Seconds: `0.2 s`, `12 s`, `3 min 05 s`. */
export function seconds(value) {
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 59.5) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** How long ago a moment was, in unix seconds: `just now`, `5 min ago`, `12 Mar`. */
export function ago(moment, now = Date.now() / 1000) {
  const past = now - moment;
  if (past < 45) return "just now";
  if (past < 3570) return `${Math.max(1, Math.round(past / 60))} min ago`;
  if (past < 86400) return `${Math.round(past / 3600)} h ago`;
  return new Date(moment * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short" });
}

/** Bytes: `812 B`, `14 kB`, `3.1 MB`. */
export function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${Math.round(value / 1000)} kB`;
  return `${(value / 1e6).toFixed(1)} MB`;
}

/** A value of a param or an output on one line. */
export function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** `1 node`, `2 nodes`. */
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
