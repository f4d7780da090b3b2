// The details of a node, shown beside it while it is pointed at or focused.

import { app } from "./app.js";
import { STATES } from "./box.js";
import { el } from "./dom.js";
import { seconds } from "./format.js";

/** `about(node)` gives `{box, links, status, picture}`. */
export function makeTip(frame, about) {
  const tip = el("div", { class: "tip", role: "tooltip", id: "node-tip", hidden: true });
  document.body.append(tip);
  let shown = null;
  let timer;

  const nodeOf = (event) => event.target.closest?.(".box") ?? null;
  const hide = () => {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  };
  const show = (group) => {
    hide();
    shown = group;
    group.setAttribute("aria-describedby", tip.id);
    update();
    place();
  };
  function update() {
    if (!shown) return;
    if (!shown.isConnected) return hide();
    tip.replaceChildren(...content(about(shown.getAttribute("data-node"))));
    tip.hidden = false;
  }
  function place() {
    const box = shown.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = tip;
    const below = box.bottom + 8 + height < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, box.left))}px`;
    tip.style.top = `${below ? box.bottom + 8 : Math.max(8, box.top - height - 8)}px`;
  }

  frame.addEventListener("pointerover", (event) => {
    const group = nodeOf(event);
    if (group === shown || event.pointerType === "touch") return;
    hide();
    if (group) timer = setTimeout(() => show(group), 350);
  });
  frame.addEventListener("pointerleave", hide);
  frame.addEventListener("pointerdown", hide);
  frame.addEventListener("wheel", hide, { passive: true });
  frame.addEventListener("focusin", (event) => {
    const group = nodeOf(event);
    if (group?.matches(":focus-visible")) show(group);
  });
  frame.addEventListener("focusout", hide);
  frame.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  return { update, hide };
}

function content({ box, links, status, picture }) {
  if (!box) return [];
  const type = app.nodeTypes.get(box.title.split(",")[0]);
  const state = app.run && status.state !== "none" ? [
    STATES[status.state],
    status.total > 1 && `${status.done} of ${status.total}`,
    status.steps && status.state === "running" && `step ${status.step} of ${status.steps}`,
    status.seconds > 0 && seconds(status.seconds),
  ].filter(Boolean).join(" · ") : null;
  return [
    el("div", { class: "tip-head" }, el("strong", { text: box.node }), el("span", { text: box.title })),
    state && el("p", { class: `state-text ${status.state}`, text: state }),
    status.message && el("p", { text: status.message }),
    (status.error || status.reason) && el("p", { class: status.error ? "wrong" : "muted", text: status.error ?? status.reason }),
    picture && el("img", { src: picture, alt: "" }),
    type && el("p", { class: "muted", text: type.summary }),
    (links.length > 0 || box.details.length > 0) && el("dl", {},
      ...links.flatMap((link) => [el("dt", { text: link.input }), el("dd", { text: `${link.source} · ${link.kind || link.output}` })]),
      ...box.details.flatMap((line) => {
        const [name, ...value] = line.split(": ");
        return [el("dt", { text: name }), el("dd", { text: value.join(": ") })];
      })),
  ].filter(Boolean);
}
