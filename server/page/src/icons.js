// Icons as inline SVG, 16 by 16, in the colour of the text around.

import { svg } from "./dom.js";

const PATHS = {
  run: "M4.5 2.8v10.4l8.600-5.200z",
  stop: "M4 4h8v8H4z",
  die: "M3 3h10v10H3zM5.800 5.800h.01M10.200 5.800h.01M8 8h.01M5.800 10.200h.01M10.200 10.200h.01",
  close: "M4 4l8 8M12 4l-8 8",
  check: "M3.500 8.500l3 3 6-7",
  warning: "M8 2.500l6 10.500H2zM8 6.500v3M8 11.300v.01",
  error: "M8 2a6 6 0 100 12A6 6 0 008 2zM8 5v3.500M8 10.800v.01",
  trash: "M3 4.500h10M6.500 4.500v-2h3v2M4.500 4.500l.500 9h6l.500-9M6.800 7v4M9.200 7v4",
  again: "M13 3.500v3.300H9.700M12.800 6.600A5.200 5.200 0 103 9.500",
  undo: "M3 3.500v3.300h3.300M3.200 6.600A5.200 5.200 0 1113 9.500",
  download: "M8 2.500v7.500M4.800 7L8 10.200 11.200 7M3 13.300h10",
  upload: "M8 10.500V3M4.800 6L8 2.800 11.200 6M3 13.300h10",
  edit: "M3 13l.600-2.800 7.200-7.200 2.200 2.200-7.200 7.200zM9.300 4.500l2.200 2.200",
  search: "M7 2.800a4.200 4.200 0 100 8.400 4.200 4.200 0 000-8.400zM10.200 10.200l3.300 3.300",
  sun: "M8 5.200a2.800 2.800 0 100 5.600 2.800 2.800 0 000-5.600zM8 1.500v1.300M8 13.200v1.300M1.500 8h1.300M13.200 8h1.300M3.400 3.400l.900.900M11.700 11.700l.900.900M12.600 3.400l-.900.900M4.300 11.700l-.900.900",
  moon: "M13 9.600A5.500 5.500 0 116.400 3a4.500 4.500 0 006.600 6.600z",
  auto: "M8 2.500a5.500 5.500 0 100 11zM8 2.500a5.500 5.500 0 010 11",
  help: "M8 2a6 6 0 100 12A6 6 0 008 2zM6.300 6.300c.200-2 3.500-1.900 3.500.100 0 1.300-1.800 1.400-1.800 2.700M8 11.300v.01",
  plus: "M8 3.500v9M3.500 8h9",
  minus: "M3.500 8h9",
  fit: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  left: "M10 3.500L5.500 8l4.500 4.500",
  right: "M6 3.500L10.500 8 6 12.500",
  pause: "M5.500 3.500v9M10.500 3.500v9",
  save: "M3 3h8l2 2v8H3zM5.500 3v3.500h4V3M5.500 13V9.500h5V13",
  folder: "M2.500 4h4l1.500 1.700h5.500v7h-11z",
  graph: "M3.800 3a1.800 1.800 0 100 3.600 1.800 1.800 0 000-3.600zM3.800 9.400a1.800 1.800 0 100 3.600 1.800 1.800 0 000-3.600zM12.200 6.200a1.800 1.800 0 100 3.600 1.800 1.800 0 000-3.600zM5.600 4.800c3 0 2 3.200 4.800 3.200M5.600 11.200c3 0 2-3.200 4.800-3.200",
  text: "M3 4h10M3 8h7M3 12h9",
  list: "M6 4h7.500M6 8h7.500M6 12h7.500M2.800 4h.01M2.800 8h.01M2.800 12h.01",
  picture: "M2.500 3.500h11v9h-11zM2.500 11l3.200-3.200 2.500 2.500 1.800-1.800 3.500 3M10.500 6.200h.01",
  sliders: "M3 5h5.500M11.500 5H13M10 3.500v3M3 11h1.500M7.500 11H13M6 9.500v3",
};

const FILLED = new Set(["run", "stop"]);

/** An icon; it says nothing to a screen reader, so what it stands in needs a name. */
export function icon(name) {
  const filled = FILLED.has(name);
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    svg("path", {
      d: PATHS[name],
      fill: filled ? "currentColor" : "none",
      stroke: "currentColor",
      "stroke-width": filled ? 1 : 1.4,
      "stroke-linecap": "round",
      "stroke-linejoin": "round",
    }),
  );
}
