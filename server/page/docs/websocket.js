// The websocket's messages, and a connection to try them on.

const SHOWN = 200; // frames

/** Fills a section with what an AsyncAPI document says of the websocket. */
export function showWebSocket(section, api) {
  const channel = api.channels.websocket;
  const requests = Object.entries(api.operations).filter(([, operation]) => operation.action === "receive");
  const codes = Object.entries(channel["x-close-codes"]);
  section.append(
    element("h2", {}, "WebSocket ", element("code", {}, channel.address)),
    ...api.info.description.split("\n\n").map((text) => prose("p", text)),
    tryOut(api, channel, requests),
    element("h3", {}, "Requests and their replies"),
    ...requests.map(([name, operation]) =>
      message(api, name, [name, ...operation.reply.messages.map(last)].map((each) => api.components.messages[each])),
    ),
    element("h3", {}, "What subscriptions send"),
    ...api.operations.follow.messages.map(last).map((name) => message(api, name, [api.components.messages[name]])),
    element("h3", {}, "Why it may be closed"),
    element("dl", {}, ...codes.flatMap(([code, why]) => [element("dt", {}, element("code", {}, code)), prose("dd", why)])),
  );
}

/** A message, with its schema and those of its replies folded in. */
function message(api, name, messages) {
  const parts = messages.flatMap((each) => [
    element("h4", {}, element("code", {}, each.name)),
    prose("p", each.description),
    element("pre", { tabIndex: 0 }, JSON.stringify(each["x-binary"] ?? resolved(api, each.payload, new Set()), null, 2)),
  ]);
  return element("details", {}, element("summary", {}, element("code", {}, name), prose("span", messages[0].title)), ...parts);
}

/** A schema with what it refers to in place, as far as it does not refer to itself. */
function resolved(api, schema, within) {
  if (Array.isArray(schema)) return schema.map((item) => resolved(api, item, within));
  if (schema === null || typeof schema !== "object") return schema;
  if (typeof schema.$ref === "string") {
    const name = last(schema);
    if (within.has(name)) return schema;
    return resolved(api, api.components.schemas[name], new Set([...within, name]));
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(api, value, within)]));
}

/** A connection: frames are typed, and what comes is listed. */
function tryOut(api, channel, requests) {
  const frame = element("textarea", { rows: 6, spellcheck: false, ariaLabel: "Frame to be sent" });
  const pick = element("select", { ariaLabel: "Request" }, ...requests.map(([name]) => element("option", {}, name)));
  const connect = element("button", { type: "button" }, "Connect");
  const send = element("button", { type: "button", disabled: true }, "Send");
  const frames = element("ol", { role: "log", ariaLabel: "Frames" });
  let socket = null;
  let id = 0;

  const list = (kind, text) => {
    frames.append(element("li", { className: kind }, text));
    if (frames.childElementCount > SHOWN) frames.firstElementChild.remove();
    frames.scrollTop = frames.scrollHeight;
  };
  const compose = () => {
    frame.value = JSON.stringify(example(resolved(api, api.components.messages[pick.value].payload, new Set()), id + 1), null, 2);
  };
  const open = () => {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${channel.address}`, [
      channel.bindings.ws.headers.properties["Sec-WebSocket-Protocol"].const,
    ]);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { list("note", "connected"); send.disabled = false; };
    socket.onmessage = ({ data }) => list("received", typeof data === "string" ? data : binary(data));
    socket.onclose = ({ code, reason }) => {
      list("note", `closed with ${code}${reason ? `: ${reason}` : ""}`);
      socket = null;
      send.disabled = true;
      connect.textContent = "Connect";
    };
    connect.textContent = "Close";
  };
  connect.addEventListener("click", () => (socket ? socket.close() : open()));
  pick.addEventListener("change", compose);
  send.addEventListener("click", () => {
    socket.send(frame.value);
    list("sent", frame.value.replace(/\s*\n\s*/g, " "));
    id += 1;
    compose();
  });
  compose();
  return element("div", { className: "try" }, element("div", { className: "row" }, connect, pick, send), frame, frames);
}

/** A frame to begin with: what has to be in it. */
function example(schema, id) {
  const required = schema.required ?? [];
  return Object.fromEntries(required.toReversed().map((name) => [name, name === "id" ? id : value(schema.properties[name])]));
}

function value(schema) {
  return schema.const ?? schema.examples?.[0] ?? schema.default ?? { integer: 0, boolean: false, object: {}, array: [] }[schema.type] ?? "";
}

/** A preview in words. */
function binary(data) {
  const length = new DataView(data).getUint32(0);
  const head = new TextDecoder().decode(data.slice(4, 4 + length));
  return `${head} and ${data.byteLength - 4 - length} bytes`;
}

function last(reference) {
  return reference.$ref.split("/").at(-1);
}

/** An element with text in which `code` is code. */
function prose(name, text) {
  return element(name, {}, ...text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part)));
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
