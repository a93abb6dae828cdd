// The page's data: what stands in its inert elements, decoded when it is first asked for.

const DATA = JSON.parse(document.getElementById("data").textContent);

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const payloads = new Map();

// The bytes of an element, inflated; `skip` bytes before the deflated part come back beside them.
function payload(id, skip = 0) {
  if (!payloads.has(id)) {
    const bytes = bytesOf(document.getElementById(id).textContent.trim());
    payloads.set(id, inflated(bytes.subarray(skip)).then((content) => ({ head: bytes[0], content })));
  }
  return payloads.get(id);
}

const codesRead = new Map();

// The codes of a layer, `[C, T, H, W]` one after another, as a Uint8Array or a Uint16Array.
function codesOf(at) {
  if (!codesRead.has(at)) codesRead.set(at, readCodes(at));
  return codesRead.get(at);
}

async function readCodes(at) {
  const { bits, shape } = DATA.codes[at];
  const { head, content } = await payload(`codes-${at}`, 1);
  payloads.delete(`codes-${at}`); // the codes themselves are kept
  const count = shape.reduce((product, size) => product * size, 1);
  let codes = content;
  if (bits === 16) {
    codes = new Uint16Array(count);
    for (let n = 0; n < count; n++) codes[n] = (content[n] << 8) | content[count + n];
  }
  if (head === 1) {
    // Each code is the difference from the one on its left; typed arrays wrap around as the writer did.
    const width = shape[3];
    for (let row = 0; row < count; row += width) {
      for (let n = row + 1; n < row + width; n++) codes[n] += codes[n - 1];
    }
  }
  return codes;
}

// The numbers of a layer's channels: how codes are read, and each channel's statistics.
async function numbersOf(layer) {
  const { content } = await payload(`numbers-${layer.key}`);
  const count = layer.count;
  const names = ["mean", "std", "min", "max", "zeros", ...(layer.effect ? ["effect"] : []), ...(layer.dossiers ? ["selectivity", "fires"] : [])];
  const found = {
    low: new Float64Array(content.buffer, 0, count),
    step: new Float64Array(content.buffer, 8 * count, count),
  };
  names.forEach((name, at) => {
    found[name] = new Float32Array(content.buffer, 16 * count + 4 * count * at, count);
  });
  return found;
}

const palettes = new Map();

// A colour map as 256 pixels in the byte order of canvases (ABGR).
function paletteOf(name) {
  if (!palettes.has(name)) {
    const rgb = bytesOf(DATA.palettes[name]);
    const pixels = new Uint32Array(256);
    for (let at = 0; at < 256; at++) {
      pixels[at] = 0xff000000 | (rgb[3 * at + 2] << 16) | (rgb[3 * at + 1] << 8) | rgb[3 * at];
    }
    palettes.set(name, pixels);
  }
  return palettes.get(name);
}

// Colours that no map has: fmap's own on all its figures.
const CONSTANT = 0xffcdcdcd;
const NAN = 0xffff00ff;
const INFINITE = 0xffffff00;

// A value as people read it: so many significant digits.
function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+∞" : "-∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(digits - 2) : String(Number(value.toPrecision(digits)));
}

// How many there are, of what: "1,000 channels".
const counted = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;

function percent(share) {
  if (share === 0 || share === 1) return `${100 * share} %`;
  if (share < 0.0005) return "<0.1 %";
  return share >= 0.9995 ? ">99.9 %" : `${(100 * share).toFixed(1)} %`;
}

const el = (id) => document.getElementById(id);

// An element with its text and attributes; nothing that comes from data is ever read as markup.
function make(tag, given = {}, ...children) {
  const { text, ...attributes } = given;
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}
