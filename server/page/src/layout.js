// Where the boxes and links of a graph are drawn: columns from left to right by the longest way to each box, an order
// in each that crosses few links, heights that keep links level, and frames around groups. Where the place is narrow,
// all of this is done on its side: rows from top to bottom.

import { ordered } from "./order.js";

const COLUMN_GAP = 48;
const ROW_GAP = 22;
const LANE = 14;
/** How far a frame is from what is in it, beside columns, above and below; its name stands at the top. */
const FRAME = { side: 18, top: 34, bottom: 18 };
const FRAME_ON_SIDE = { side: 30, top: 18, bottom: 18 };

/**
 * `boxes` are `{node, group}`, `links` `{source, target, …}`, `size(box)` gives `{width, height}`. Gives areas by node,
 * a path of points for each link, a frame for each group, and the size of it all.
 */
export function layout(boxes, links, size, down = false) {
  const margins = down ? FRAME_ON_SIDE : FRAME;
  const sized = (box) => (down ? turned(size(box)) : size(box));
  const real = new Map(boxes.map((box) => [box.node, { name: box.node, group: box.group || "", ...sized(box), column: 0, before: [], after: [] }]));
  const drawn = links.filter(({ source, target }) => real.has(source) && real.has(target) && source !== target);
  assignColumns(real, drawn);
  const { columns, chains } = withLanes(real, drawn);
  const order = ordered(columns);
  assignHeights(order, margins);
  const frames = keepOutOfFrames(order, margins);
  assignPlaces(order);
  const result = finished(real, drawn, chains, frames, margins);
  return down ? onSide(result) : result;
}

function assignColumns(real, links) {
  const targets = new Map([...real.keys()].map((name) => [name, new Set()]));
  const missing = new Map([...real.keys()].map((name) => [name, 0]));
  for (const { source, target } of links) {
    if (targets.get(source).has(target)) continue;
    targets.get(source).add(target);
    missing.set(target, missing.get(target) + 1);
  }
  const free = [...real.keys()].filter((name) => missing.get(name) === 0);
  const first = new Set(free);
  for (const name of free) {
    for (const target of targets.get(name)) {
      real.get(target).column = Math.max(real.get(target).column, real.get(name).column + 1);
      missing.set(target, missing.get(target) - 1);
      if (missing.get(target) === 0) free.push(target);
    }
  }
  // What begins a graph stands beside what first needs it.
  for (const name of first) {
    const after = [...targets.get(name)].map((target) => real.get(target).column);
    if (after.length) real.get(name).column = Math.min(...after) - 1;
  }
}

/** Columns of boxes and of the lanes in which long links pass, which one box's links share. */
function withLanes(real, links) {
  const columns = [];
  const place = (item) => (columns[item.column] ??= []).push(item);
  real.forEach(place);
  const lanes = new Map();
  const chains = links.map(({ source, target }) => {
    const chain = [real.get(source)];
    const to = real.get(target);
    for (let column = chain[0].column + 1; column < to.column; column++) {
      const key = `${source} ${column}`;
      if (!lanes.has(key)) {
        const lane = { lane: true, group: chain[0].group === to.group ? to.group : "", width: 0, height: LANE, column, before: [], after: [] };
        lanes.set(key, lane);
        place(lane);
      }
      chain.push(lanes.get(key));
    }
    chain.push(to);
    for (let index = 1; index < chain.length; index++) {
      if (chain[index - 1].after.includes(chain[index])) continue;
      chain[index - 1].after.push(chain[index]);
      chain[index].before.push(chain[index - 1]);
    }
    return chain;
  });
  return { columns: Array.from(columns, (column) => column ?? []), chains };
}

const gap = (above, below, margins) => {
  const between = above.lane || below.lane ? ROW_GAP / 2 : ROW_GAP;
  return above.group === below.group ? between : between + (above.group ? margins.bottom : 0) + (below.group ? margins.top : 0);
};

/** Each item as near to the middle of its neighbours as those above and below it allow. */
function assignHeights(columns, margins) {
  for (const column of columns) stack(column, column.map(() => 0), margins);
  const rounds = 24;
  for (let round = 0; round < rounds; round++) {
    const forward = round % 2 === 0;
    const sides = round < rounds - 4 ? [forward ? "before" : "after"] : ["before", "after"];
    for (const column of forward ? columns : columns.toReversed()) {
      stack(column, column.map((item) => {
        const near = sides.flatMap((side) => item[side]);
        return near.length ? near.reduce((sum, each) => sum + each.y, 0) / near.length : item.y;
      }), margins);
    }
  }
}

/** Puts a column's items, in order, where they want to be with the least squares of deviations (pool adjacent violators). */
function stack(column, wanted, margins) {
  let offset = 0;
  const offsets = column.map((item, index) => (index === 0 ? 0 : (offset += column[index - 1].height / 2 + gap(column[index - 1], item, margins) + item.height / 2)));
  const pools = [];
  wanted.forEach((y, index) => {
    let pool = { sum: y - offsets[index], size: 1 };
    while (pools.length && pools.at(-1).sum / pools.at(-1).size > pool.sum / pool.size) {
      const last = pools.pop();
      pool = { sum: last.sum + pool.sum, size: last.size + pool.size };
    }
    pools.push(pool);
  });
  let index = 0;
  for (const { sum, size } of pools) for (let each = 0; each < size; each++, index++) column[index].y = sum / size + offsets[index];
}

/** Moves what does not belong to a group out of its frame, outwards, with what is beyond it. */
function keepOutOfFrames(columns, margins) {
  const groups = [...new Set(columns.flat().map(({ group }) => group))].filter(Boolean);
  const frame = (group) => {
    const members = columns.flat().filter((item) => item.group === group && !item.lane);
    return {
      group,
      from: Math.min(...members.map(({ column }) => column)),
      to: Math.max(...members.map(({ column }) => column)),
      top: Math.min(...members.map(({ y, height }) => y - height / 2)) - margins.top,
      bottom: Math.max(...members.map(({ y, height }) => y + height / 2)) + margins.bottom,
    };
  };
  for (let round = 0; round < 8; round++) {
    let moved = false;
    for (const area of groups.map(frame)) {
      for (const column of columns.slice(area.from, area.to + 1)) {
        const last = column.findLastIndex(({ group }) => group === area.group);
        const middle = (area.top + area.bottom) / 2;
        column.forEach((item, index) => {
          if (item.lane || item.group === area.group) return;
          const below = last >= 0 ? index > last : item.y > middle;
          const by = below ? area.bottom + ROW_GAP - (item.y - item.height / 2) : area.top - ROW_GAP - (item.y + item.height / 2);
          if (below ? by <= 0.5 : by >= -0.5) return;
          for (const other of below ? column.slice(index) : column.slice(0, index + 1)) other.y += by;
          moved = true;
        });
      }
    }
    if (!moved) break;
  }
  return groups.map(frame);
}

function assignPlaces(columns) {
  let x = 0;
  for (const column of columns) {
    const width = Math.max(0, ...column.map((item) => item.width));
    for (const item of column) {
      item.x = x + (item.lane ? width / 2 : (width - item.width) / 2);
      item.full = width;
    }
    x += width + COLUMN_GAP;
  }
}

function finished(real, links, chains, frames, margins) {
  const areas = new Map();
  for (const [name, { x, y, width, height }] of real) areas.set(name, { x, y: y - height / 2, width, height });
  const framed = frames.map(({ group, top, bottom }) => {
    const members = [...real.values()].filter((item) => item.group === group);
    const x = Math.min(...members.map((item) => item.x)) - margins.side;
    return { group, x, y: top, width: Math.max(...members.map((item) => item.x + item.width)) + margins.side - x, height: bottom - top };
  });
  // Links arrive in the order of the heights they come from.
  const height = new Map(links.map((link, index) => [link, chains[index].at(-2).y]));
  for (const item of real.values()) item.arriving = [];
  for (const link of links) real.get(link.target).arriving.push(link);
  for (const item of real.values()) item.arriving.sort((a, b) => height.get(a) - height.get(b));
  const paths = links.map((link, index) => ({ link, points: points(link, chains[index]) }));
  const all = [...areas.values(), ...framed, ...paths.flatMap(({ points }) => points.map(([x, y]) => ({ x, y, width: 0, height: 0 })))];
  const left = Math.min(...all.map(({ x }) => x));
  const top = Math.min(...all.map(({ y }) => y));
  const right = Math.max(...all.map(({ x, width }) => x + width));
  const bottom = Math.max(...all.map(({ y, height }) => y + height));
  return { areas, frames: framed, paths, x: left, y: top, width: right - left, height: bottom - top };
}

/** From the source's right side, through the lanes, to a place of its own on the target's left side. */
function points(link, chain) {
  const from = chain[0];
  const to = chain.at(-1);
  const arriving = to.arriving;
  const spread = Math.min(10, (to.height - 20) / arriving.length);
  const end = to.y + (arriving.indexOf(link) - (arriving.length - 1) / 2) * spread;
  const lanes = chain.slice(1, -1).flatMap(({ x, y, full }) => [[x - full / 2, y], [x + full / 2, y]]);
  return [[from.x + from.width, from.y], ...lanes, [to.x, end]];
}

const turned = ({ x, y, width, height, ...others }) => ({ ...others, x: y, y: x, width: height, height: width });

function onSide({ areas, frames, paths, ...all }) {
  return {
    ...turned(all),
    areas: new Map([...areas].map(([name, area]) => [name, turned(area)])),
    frames: frames.map(turned),
    paths: paths.map(({ link, points }) => ({ link, points: points.map(([x, y]) => [y, x]) })),
  };
}
