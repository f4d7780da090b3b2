// One level of a drawing: columns from left to right by the longest way to each item, an order in each that crosses few
// links, and heights that keep links level.

import { ordered } from "./order.js";

const COLUMN_GAP = 48;
const PORT_GAP = 28;
const ROW_GAP = 22;
const LANE = 14;
const ROUNDS = 24;

/**
 * Places `items`, each `{width, height}`: they get `x`, their left side, and `y`, their middle. One with `port` is a
 * place on the edge, "in" on the left or "out" on the right. `links` are `{from, to, fromY, toY, lane}`: the items
 * joined, how far from their middles, and what links must have in common to share lanes where they pass other columns.
 * Gives a path of points for each link.
 */
export function arrange(items, links) {
  for (const item of items) Object.assign(item, { column: 0, before: [], after: [] });
  assignColumns(items, links);
  const { columns, chains } = withLanes(items, links);
  const order = ordered(columns);
  assignHeights(order);
  pack(order);
  assignPlaces(order);
  return paths(items, links, chains);
}

function assignColumns(items, links) {
  const targets = new Map(items.map((item) => [item, new Set()]));
  const missing = new Map(items.map((item) => [item, 0]));
  for (const { from, to } of links) {
    if (targets.get(from).has(to)) continue;
    targets.get(from).add(to);
    missing.set(to, missing.get(to) + 1);
  }
  const first = items.some(({ port }) => port === "in") ? 1 : 0;
  for (const item of items) item.column = item.port === "in" ? 0 : first;
  const free = items.filter((item) => missing.get(item) === 0);
  const begin = new Set(free.filter(({ port }) => !port));
  for (const item of free) {
    for (const target of targets.get(item)) {
      target.column = Math.max(target.column, item.column + 1);
      missing.set(target, missing.get(target) - 1);
      if (missing.get(target) === 0) free.push(target);
    }
  }
  const last = Math.max(...items.filter(({ port }) => port !== "out").map(({ column }) => column));
  for (const item of items) if (item.port === "out") item.column = last + 1;
  // What begins a graph stands beside what first needs it.
  for (const item of begin) {
    const after = [...targets.get(item)].map(({ column }) => column);
    if (after.length) item.column = Math.min(...after) - 1;
  }
}

/** Columns of items and of the lanes in which long links pass. */
function withLanes(items, links) {
  const columns = [];
  const place = (item) => (columns[item.column] ??= []).push(item);
  items.forEach(place);
  const lanes = new Map();
  const chains = links.map(({ from, to, fromY, toY, lane }) => {
    const chain = [from];
    for (let column = from.column + 1; column < to.column; column++) {
      const key = `${column} ${lane}`;
      if (!lanes.has(key)) {
        lanes.set(key, { lane: true, width: 0, height: LANE, column, before: [], after: [] });
        place(lanes.get(key));
      }
      chain.push(lanes.get(key));
    }
    chain.push(to);
    for (let index = 1; index < chain.length; index++) join(chain[index - 1], chain[index], index === 1 ? fromY : 0, index === chain.length - 1 ? toY : 0);
    return chain;
  });
  return { columns: Array.from(columns, (column) => column ?? []), chains };
}

/** Two neighbours; `by` is how much lower the other must be for the link between to be level. */
function join(left, right, leftY, rightY) {
  if (left.after.some(({ item }) => item === right)) return;
  left.after.push({ item: right, by: leftY - rightY });
  right.before.push({ item: left, by: rightY - leftY });
}

const gap = (above, below) => (above.lane || below.lane ? ROW_GAP / 2 : ROW_GAP);

/** Each item as near to where its links are level as those above and below it allow. */
function assignHeights(columns) {
  for (const column of columns) stack(column, column.map(() => 0));
  for (let round = 0; round < ROUNDS; round++) {
    const forward = round % 2 === 0;
    const sides = round < ROUNDS - 4 ? [forward ? "before" : "after"] : ["before", "after"];
    for (const column of forward ? columns : columns.toReversed()) {
      stack(column, column.map((self) => {
        const near = sides.flatMap((side) => self[side]);
        return near.length ? near.reduce((sum, { item, by }) => sum + item.y - by, 0) / near.length : self.y;
      }));
    }
  }
}

/** Puts a column's items, in order, where they want to be with the least squares of deviations (pool adjacent violators). */
function stack(column, wanted) {
  let offset = 0;
  const offsets = column.map((item, index) => (index === 0 ? 0 : (offset += column[index - 1].height / 2 + gap(column[index - 1], item) + item.height / 2)));
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

/** Moves the parts that no link joins close to each other. */
function pack(columns) {
  const seen = new Set();
  const parts = [];
  for (const item of columns.flat()) {
    if (seen.has(item)) continue;
    const part = new Set([item]);
    for (const each of part) for (const other of [...each.before, ...each.after]) part.add(other.item);
    part.forEach((each) => seen.add(each));
    parts.push([...part]);
  }
  const middle = (part) => part.reduce((sum, { y }) => sum + y, 0) / part.length;
  const filled = columns.map(() => -Infinity);
  for (const part of parts.sort((a, b) => middle(a) - middle(b))) {
    const needed = Math.max(...part.map(({ column, y, height }) => filled[column] + 1.5 * ROW_GAP - (y - height / 2)));
    const by = Number.isFinite(needed) ? needed : 0;
    for (const item of part) {
      item.y += by;
      filled[item.column] = Math.max(filled[item.column], item.y + item.height / 2);
    }
  }
}

function assignPlaces(columns) {
  let x = 0;
  columns.forEach((column, index) => {
    const width = Math.max(0, ...column.map((item) => item.width));
    for (const item of column) Object.assign(item, { x, full: width });
    const port = column.some((item) => item.port === "in") || columns[index + 1]?.some((item) => item.port === "out");
    x += width + (port ? PORT_GAP : COLUMN_GAP);
  });
}

/** From the right side of an item, through lanes, to the left side of another, where links arrive in the order of the heights they come from. */
function paths(items, links, chains) {
  const arriving = new Map(items.map((item) => [item, []]));
  links.forEach((link, index) => arriving.get(link.to).push({ link, y: chains[index].at(-2).y + (chains[index].length === 2 ? link.fromY : 0) }));
  for (const list of arriving.values()) list.sort((a, b) => a.y - b.y);
  return links.map((link, index) => {
    const chain = chains[index];
    const { from, to } = link;
    const list = arriving.get(to);
    const spread = to.port || to.open ? 0 : Math.min(10, (to.height - 20) / list.length);
    const end = to.y + link.toY + (list.findIndex((each) => each.link === link) - (list.length - 1) / 2) * spread;
    return [[from.x + from.width, from.y + link.fromY], ...chain.slice(1, -1).flatMap(({ x, y, full }) => (full ? [[x, y], [x + full, y]] : [[x, y]])), [to.x, end]];
  });
}
