// Requests to the server, its errors as exceptions, and the token where one is needed.

import { askToken } from "./token.js";

const KEY = "latentgraph.token";

/** An error as the server tells it, or `unreachable` where it did not answer. */
export class ApiError extends Error {
  constructor(error, status = 0) {
    super(error.message);
    this.code = error.code;
    this.temporary = error.temporary ?? false;
    this.diagnostics = error.diagnostics ?? [];
    this.first = error.first;
    this.status = status;
  }
}

export const token = () => sessionStorage.getItem(KEY) ?? "";

/** Asks for a token and keeps it for this tab. */
export async function newToken(refused) {
  sessionStorage.setItem(KEY, await askToken(refused));
}

/** A response that is good. `json` is sent as JSON, `body` as it is. Raises ApiError. */
export async function send(method, path, { json, body, headers = {}, signal } = {}) {
  for (;;) {
    const used = token();
    const all = { ...headers };
    if (json !== undefined) all["Content-Type"] = "application/json";
    if (used) all.Authorization = `Bearer ${used}`;
    let response;
    try {
      response = await fetch(path, { method, headers: all, body: json === undefined ? body : JSON.stringify(json), signal });
    } catch (failure) {
      if (failure.name === "AbortError") throw failure;
      throw new ApiError({ code: "unreachable", message: "the server cannot be reached", temporary: true });
    }
    if (response.status === 401) {
      if (token() === used) await newToken(used !== "");
      continue;
    }
    if (response.ok) return response;
    throw new ApiError(await told(response), response.status);
  }
}

async function told(response) {
  try {
    const { error } = await response.json();
    if (error?.message) return error;
  } catch {
    // Not the server's own answer, such as a proxy's page.
  }
  return { code: "http", message: `the server answered ${response.status}`, temporary: response.status >= 500 };
}

export const get = async (path, options) => (await send("GET", path, options)).json();
export const post = async (path, json) => (await send("POST", path, { json })).json();
export const remove = (path) => send("DELETE", path);

/** A graph's name as part of an address; it may have folders. */
export const graphPath = (name) => `/v1/graphs/${name.split("/").map(encodeURIComponent).join("/")}`;

/** The same job however often it has to be sent until the server has answered. */
export async function submit(job) {
  const body = { ...job, key: uniqueKey() };
  for (let pause = 300; ; pause *= 2) {
    try {
      return await post("/v1/jobs", body);
    } catch (failure) {
      if (!(failure instanceof ApiError) || !["unreachable", "unavailable"].includes(failure.code) || pause > 5000) throw failure;
      await new Promise((done) => setTimeout(done, pause));
    }
  }
}

function uniqueKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Uploads a file; gives `{upload: "upload:<sha256>", url, media, size, name}`. */
export async function upload(file) {
  const path = `/v1/uploads?name=${encodeURIComponent(file.name)}`;
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return (await send("POST", path, { body: file, headers })).json();
}
