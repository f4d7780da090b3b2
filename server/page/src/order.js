// The order of the items in each column of a layered drawing, so that few links cross.

const SWEEPS = 12;

/** The columns in the best order found: each item near the middle of its neighbours, the items of a group together. */
export function ordered(columns) {
  let current = columns.map((column) => grouped(column, column.map((_, index) => index)));
  let best = current;
  let least = crossings(current);
  for (let sweep = 0; sweep < SWEEPS && least > 0; sweep++) {
    current = swept(current, sweep % 2 === 0);
    const count = crossings(current);
    if (count < least) [best, least] = [current, count];
  }
  return best;
}

function swept(columns, forward) {
  const result = columns.slice();
  const side = forward ? "before" : "after";
  const places = new Map(columns.flatMap((column) => column.map((item, index) => [item, index])));
  const step = forward ? 1 : -1;
  for (let at = forward ? 1 : columns.length - 2; at >= 0 && at < columns.length; at += step) {
    const wanted = result[at].map((item) => {
      const near = item[side].map((other) => places.get(other));
      return near.length ? near.reduce((sum, place) => sum + place, 0) / near.length : places.get(item);
    });
    result[at] = grouped(result[at], wanted);
    result[at].forEach((item, index) => places.set(item, index));
  }
  return result;
}

/** A column by the places its items want, a group's items side by side where the group wants to be. */
function grouped(column, wanted) {
  const clusters = new Map();
  column.forEach((item, index) => {
    const key = item.group || item;
    if (!clusters.has(key)) clusters.set(key, []);
    clusters.get(key).push({ item, wanted: wanted[index] });
  });
  const mean = (members) => members.reduce((sum, each) => sum + each.wanted, 0) / members.length;
  return [...clusters.values()]
    .sort((a, b) => mean(a) - mean(b))
    .flatMap((members) => members.sort((a, b) => a.wanted - b.wanted).map(({ item }) => item));
}

/** How many links cross between neighbouring columns. */
export function crossings(columns) {
  let count = 0;
  for (let at = 1; at < columns.length; at++) {
    const places = new Map(columns[at].map((item, index) => [item, index]));
    const ends = columns[at - 1].flatMap((item) => item.after.map((other) => places.get(other)).sort((a, b) => a - b));
    for (let i = 0; i < ends.length; i++) for (let j = i + 1; j < ends.length; j++) if (ends[i] > ends[j]) count++;
  }
  return count;
}
