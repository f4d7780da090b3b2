// The texts in a PNG file: the graph that drew it, its name and its params are among them.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const LONGEST = 8_000_000;

/** The texts of a PNG file by keyword; null where the bytes are no PNG. Raises where a text is damaged or too long. */
export async function pngTexts(bytes) {
  if (SIGNATURE.some((byte, index) => bytes[index] !== byte)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts = {};
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = latin(bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IEND" || content.length < length) break;
    const read = { tEXt: text, zTXt: compressed, iTXt: international }[kind];
    if (read) {
      const [keyword, value] = await read(content);
      texts[keyword] = value;
    }
    at += 12 + length;
  }
  return texts;
}

const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const utf8 = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

function split(content) {
  const end = content.indexOf(0);
  if (end < 0) throw new Error("a text in the picture is damaged");
  return [content.subarray(0, end), content.subarray(end + 1)];
}

/** Keyword, text; in Latin-1. */
function text(content) {
  const [keyword, value] = split(content);
  return [latin(keyword), latin(value)];
}

/** Keyword, method, compressed text; in Latin-1. */
async function compressed(content) {
  const [keyword, rest] = split(content);
  return [latin(keyword), latin(await inflated(rest.subarray(1)))];
}

/** Keyword, whether compressed, method, language, translated keyword, text; in UTF-8. */
async function international(content) {
  const [keyword, rest] = split(content);
  const [, afterLanguage] = split(rest.subarray(2));
  const [, value] = split(afterLanguage);
  return [latin(keyword), utf8(rest[0] ? await inflated(value) : value)];
}

async function inflated(bytes) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    length += value.length;
    if (length > LONGEST) throw new Error("a text in the picture is too long");
    parts.push(value);
  }
}
