// Where the boxes and links of a graph are drawn. The boxes of a group are placed by themselves; their frame is one item
// among the others then, and links pass through ports on its sides. Where there is little room beside each other, all of
// it is done on its side: from top to bottom.

import { arrange } from "./level.js";

const FRAME = { side: 18, top: 32, bottom: 16 };
const FRAME_ON_SIDE = { side: 30, top: 16, bottom: 16 };

/**
 * `boxes` are `{node, group}`, `links` `{source, target, …}`, `size(box)` gives `{width, height}`. Gives areas by node,
 * a path of points for each link, a frame for each group, and the size of it all.
 */
export function layout(boxes, links, size, down = false) {
  const margins = down ? FRAME_ON_SIDE : FRAME;
  const items = new Map(boxes.map((box) => [box.node, { group: box.group || "", ...(down ? turned(size(box)) : size(box)) }]));
  const drawn = links.filter(({ source, target }) => items.has(source) && items.has(target) && source !== target);
  const groups = new Map();
  for (const { group } of items.values()) if (group && !groups.has(group)) groups.set(group, inside(group, items, drawn, margins));
  const paths = around(items, drawn, groups);
  const result = measured({ areas: areasOf(items), frames: [...groups].map(([group, { frame }]) => ({ group, ...area(frame) })), paths });
  return down ? onSide(result) : result;
}

/** A group with its boxes placed in it: its frame as an item, its ports, and the parts of links inside. */
function inside(group, items, links, margins) {
  const members = [...items.values()].filter((item) => item.group === group);
  const ports = { in: new Map(), out: new Map() };
  const port = (side, source) => {
    if (!ports[side].has(source)) ports[side].set(source, { port: side, width: 0, height: 10 });
    return ports[side].get(source);
  };
  const parts = new Map();
  for (const link of links) {
    const [from, to] = [items.get(link.source), items.get(link.target)];
    if (from.group !== group && to.group !== group) continue;
    parts.set(link, {
      from: from.group === group ? from : port("in", link.source),
      to: to.group === group ? to : port("out", link.source),
      fromY: 0, toY: 0, lane: link.source,
    });
  }
  const all = [...members, ...ports.in.values(), ...ports.out.values()];
  const points = arrange(all, [...parts.values()]);
  const top = Math.min(...all.map(({ y, height }) => y - height / 2)) - margins.top;
  const bottom = Math.max(...all.map(({ y, height }) => y + height / 2)) + margins.bottom;
  const left = ports.in.size ? 0 : -margins.side;
  const right = Math.max(...all.map(({ x, width }) => x + width)) + (ports.out.size ? 0 : margins.side);
  return {
    frame: { open: true, width: right - left, height: bottom - top }, members, ports,
    left, middle: (top + bottom) / 2, points: new Map([...parts.keys()].map((link, index) => [link, points[index]])),
  };
}

/** Places what is in no group and the frames of groups; gives the paths of all links. */
function around(items, links, groups) {
  const itemOf = (item) => groups.get(item.group)?.frame ?? item;
  const level = [...new Set([...items.values()].map(itemOf))];
  const outer = links.filter(({ source, target }) => !items.get(source).group || items.get(source).group !== items.get(target).group);
  const portY = (group, side, source) => (group ? group.ports[side].get(source).y - group.middle : 0);
  const points = arrange(level, outer.map(({ source, target }) => {
    const [from, to] = [items.get(source), items.get(target)];
    return {
      from: itemOf(from), to: itemOf(to), lane: source,
      fromY: portY(groups.get(from.group), "out", source), toY: portY(groups.get(to.group), "in", source),
    };
  }));
  for (const { frame, members, left, middle } of groups.values()) {
    for (const item of members) {
      item.x += frame.x - left;
      item.y += frame.y - middle;
    }
  }
  const moved = (group, link) => (group?.points.get(link) ?? []).map(([x, y]) => [x + group.frame.x - group.left, y + group.frame.y - group.middle]);
  return links.map((link) => {
    const [from, to] = [groups.get(items.get(link.source).group), groups.get(items.get(link.target).group)];
    const way = points[outer.indexOf(link)] ?? [];
    return { link, points: from === to ? (from ? moved(from, link) : way) : [...moved(from, link), ...way, ...moved(to, link)] };
  });
}

const area = ({ x, y, width, height }) => ({ x, y: y - height / 2, width, height });
const areasOf = (items) => new Map([...items].map(([name, item]) => [name, area(item)]));

function measured(result) {
  const all = [...result.areas.values(), ...result.frames, ...result.paths.flatMap(({ points }) => points.map(([x, y]) => ({ x, y, width: 0, height: 0 })))];
  const x = Math.min(...all.map((each) => each.x));
  const y = Math.min(...all.map((each) => each.y));
  return { ...result, x, y, width: Math.max(...all.map((each) => each.x + each.width)) - x, height: Math.max(...all.map((each) => each.y + each.height)) - y };
}

const turned = ({ x, y, width, height, ...others }) => ({ ...others, x: y, y: x, width: height, height: width });

function onSide({ areas, frames, paths, ...all }) {
  return {
    ...turned(all),
    areas: new Map([...areas].map(([name, each]) => [name, turned(each)])),
    frames: frames.map(turned),
    paths: paths.map(({ link, points }) => ({ link, points: points.map(([x, y]) => [y, x]) })),
  };
}
