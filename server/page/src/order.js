// The order of the items in each column of a layered drawing, so that few links cross.

const SWEEPS = 12;

/** The columns in the best order found: each item near the middle of its neighbours. */
export function ordered(columns) {
  let current = columns;
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
    const wanted = new Map(result[at].map((item) => {
      const near = item[side].map((other) => places.get(other.item));
      return [item, near.length ? near.reduce((sum, place) => sum + place, 0) / near.length : places.get(item)];
    }));
    result[at] = result[at].toSorted((a, b) => wanted.get(a) - wanted.get(b));
    result[at].forEach((item, index) => places.set(item, index));
  }
  return result;
}

/** How many links cross between neighbouring columns. */
function crossings(columns) {
  let count = 0;
  for (let at = 1; at < columns.length; at++) {
    const places = new Map(columns[at].map((item, index) => [item, index]));
    const ends = columns[at - 1].flatMap((item) => item.after.map((other) => places.get(other.item)).sort((a, b) => a - b));
    for (let i = 0; i < ends.length; i++) for (let j = i + 1; j < ends.length; j++) if (ends[i] > ends[j]) count++;
  }
  return count;
}
