// Moving and scaling what is in an SVG: wheel, drag, pinch; and fitting it into view.

const LEAST = 0.03;
const READABLE = 0.3;
const MOST = 2.5;
const MARGIN = 28;
const TOOLS = 26; // How much higher the middle is for the buttons below.

/** Lets the user move `content` (a group in `frame`, an SVG). `bounds()` gives what to fit. */
export function panZoom(frame, content, bounds) {
  let at = { x: 0, y: 0, scale: 1 };
  let own = false;
  const pointers = new Map();

  const place = () => content.setAttribute("transform", `translate(${at.x} ${at.y}) scale(${at.scale})`);

  function zoom(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
    const scale = Math.min(MOST, Math.max(LEAST, at.scale * factor));
    const by = scale / at.scale;
    at = { x: x - (x - at.x) * by, y: y - (y - at.y) * by, scale };
    own = true;
    place();
  }

  /** Shows all of it, or, where `readable` is wanted, the beginning of it if it would be too small to read. */
  function fit(readable = false) {
    const area = bounds();
    const { clientWidth: width, clientHeight: height } = frame;
    if (!area || !width || !height) return;
    const scale = Math.min(1.15, Math.max(readable ? READABLE : LEAST, Math.min((width - 2 * MARGIN) / area.width, (height - 2 * MARGIN - TOOLS) / area.height)));
    const begin = (room, size) => Math.max((room - size * scale) / 2, Math.min(MARGIN, room));
    at = { x: begin(width, area.width) - area.x * scale, y: begin(height - TOOLS, area.height) - area.y * scale, scale };
    own = false;
    place();
  }

  /** Moves so far that an area of the drawing can be seen. */
  function reveal({ x, y, width, height }) {
    const inside = (from, to, size) => (from < MARGIN ? MARGIN - from : to > size - MARGIN ? Math.max(size - MARGIN - to, MARGIN - from) : 0);
    const dx = inside(at.x + x * at.scale, at.x + (x + width) * at.scale, frame.clientWidth);
    const dy = inside(at.y + y * at.scale, at.y + (y + height) * at.scale, frame.clientHeight);
    if (!dx && !dy) return;
    at = { ...at, x: at.x + dx, y: at.y + dy };
    own = true;
    place();
  }

  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.04 : 0.0016)), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 && event.pointerType === "mouse") return;
    pointers.set(event.pointerId, event);
  });
  frame.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.clientX;
    const dy = event.clientY - before.clientY;
    if (pointers.size === 1) {
      if (!frame.hasPointerCapture(event.pointerId)) {
        if (Math.hypot(dx, dy) < 4) return; // A click may tremble.
        frame.setPointerCapture(event.pointerId);
        frame.classList.add("moving");
      }
      at = { ...at, x: at.x + dx, y: at.y + dy };
      own = true;
      place();
    } else if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, each]) => each);
      const distance = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
      const box = frame.getBoundingClientRect();
      zoom(distance(event) / Math.max(1, distance(before)), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
    }
    pointers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    frame.addEventListener(end, (event) => {
      if (end === "pointerleave" && frame.hasPointerCapture(event.pointerId)) return;
      pointers.delete(event.pointerId);
      // The click that ends a drag is still to come.
      setTimeout(() => frame.classList.remove("moving"));
    });
  }

  new ResizeObserver(() => own || fit(true)).observe(frame);
  return { zoom, fit, reveal, refit: () => own || fit(true) };
}
