// A layer's maps as values: read from codes, or the difference of two such.

class View {
  // `layer` is the page's entry of it, `codes` and `numbers` are decoded.
  constructor(layer, codes, numbers) {
    Object.assign(this, { layer, codes, numbers });
    [this.frames, this.height, this.width] = layer.cells;
    this.count = layer.count;
    this.size = this.height * this.width;
    this.finite = (codes.BYTES_PER_ELEMENT === 1 ? 256 : 65536) - 3;
    this.planes = new Map();
  }

  // A channel's map in one frame, Float64Array of H · W. The last ones stay: hovering asks for them again and again.
  plane(channel, frame) {
    const key = channel * this.frames + frame;
    let found = this.planes.get(key);
    if (!found) {
      found = new Float64Array(this.size);
      this.fill(channel, frame, found);
      this.planes.set(key, found);
      if (this.planes.size > 96) this.planes.delete(this.planes.keys().next().value);
    }
    return found;
  }

  fill(channel, frame, out) {
    const low = this.numbers.low[channel];
    const step = this.numbers.step[channel];
    const [least, most] = this.layer.clamp || [-Infinity, Infinity];
    const top = most === null ? Infinity : most;
    const start = (channel * this.frames + frame) * this.size;
    for (let at = 0; at < this.size; at++) {
      const code = this.codes[start + at];
      if (code >= this.finite) out[at] = [NaN, Infinity, -Infinity][code - this.finite];
      else {
        const value = low + code * step;
        out[at] = value < least ? least : value > top ? top : value;
      }
    }
  }

  value(channel, frame, y, x) {
    return this.plane(channel, frame)[y * this.width + x];
  }

  // How far a value may be from what the network computed: half a step.
  error(channel) {
    return Math.abs(this.numbers.step[channel]) / 2;
  }

  stat(name, channel) {
    return this.numbers[name][channel];
  }

  get signed() {
    return (this.layer.stats.min ?? 0) < 0;
  }

  // The values at both ends of the colours.
  ends(channel, scale) {
    if (scale === "channel") return [this.numbers.min[channel], this.numbers.max[channel]];
    const { min, max } = this.layer.stats;
    if (min === null) return [NaN, NaN];
    const far = Math.max(Math.abs(min), Math.abs(max));
    return min < 0 ? [-far, far] : [min, max];
  }

  palette(scale) {
    if (state.cmap !== "auto") return paletteOf(state.cmap);
    return paletteOf(scale === "layer" && this.signed ? "RdBu_r" : "viridis");
  }
}

// B − A of two views of one shape: nothing of it is kept in the file, so its error is both errors together.
class Difference extends View {
  constructor(a, b) {
    super(a.layer, a.codes, a.numbers);
    Object.assign(this, { a, b });
    const count = a.count;
    const stats = {};
    for (const name of ["mean", "std", "min", "max", "zeros"]) stats[name] = new Float32Array(count);
    const buffer = new Float64Array(this.size);
    let largest = 0;
    let zeros = 0;
    let total = 0;
    let squares = 0;
    const values = count * this.frames * this.size;
    let [least, most] = [Infinity, -Infinity];
    for (let channel = 0; channel < count; channel++) {
      let [sum, square, low, high, none] = [0, 0, Infinity, -Infinity, 0];
      for (let frame = 0; frame < this.frames; frame++) {
        this.fill(channel, frame, buffer);
        for (const value of buffer) {
          sum += value;
          square += value * value;
          if (value < low) low = value;
          if (value > high) high = value;
          if (value === 0) none++;
        }
      }
      const places = this.frames * this.size;
      stats.mean[channel] = sum / places;
      stats.std[channel] = Math.sqrt(Math.max(square - (sum * sum) / places, 0) / Math.max(places - 1, 1));
      stats.min[channel] = low;
      stats.max[channel] = high;
      stats.zeros[channel] = none / places;
      total += sum;
      squares += square;
      zeros += none;
      least = Math.min(least, low);
      most = Math.max(most, high);
      largest = Math.max(largest, Math.abs(low), Math.abs(high));
    }
    this.numbers = { ...stats, low: a.numbers.low, step: a.numbers.step };
    this.largest = largest;
    const mean = total / values;
    this.layer = {
      ...a.layer, effect: false, findings: [], components: null, arithmetic: null,
      stats: {
        mean, std: Math.sqrt(Math.max(squares - total * mean, 0) / Math.max(values - 1, 1)),
        min: least, max: most, zeros: zeros / values, nan: 0, inf: 0,
      },
    };
  }

  fill(channel, frame, out) {
    const [one, other] = [this.a.plane(channel, frame), this.b.plane(channel, frame)];
    for (let at = 0; at < out.length; at++) out[at] = other[at] - one[at];
  }

  error(channel) {
    return this.a.error(channel) + this.b.error(channel);
  }

  ends(channel, scale) {
    const far = scale === "layer" ? this.largest : Math.max(Math.abs(this.stat("min", channel)), Math.abs(this.stat("max", channel)));
    return [-far, far];
  }

  palette() {
    return paletteOf(state.cmap === "auto" ? "RdBu_r" : state.cmap);
  }
}

const views = new Map();

// The view of a layer of a pass, by its name; null where that pass has no such layer.
function viewOf(pass, name) {
  const layer = DATA.passes[pass].layers.find((each) => each.name === name);
  if (!layer) return Promise.resolve(null);
  if (!views.has(layer.key)) {
    views.set(layer.key, Promise.all([codesOf(layer.codes), numbersOf(layer)]).then(([codes, numbers]) => new View(layer, codes, numbers)));
  }
  return views.get(layer.key);
}

async function differenceOf(name) {
  const key = `difference ${name}`;
  if (!views.has(key)) {
    views.set(key, Promise.all([viewOf(0, name), viewOf(1, name)]).then(([a, b]) => {
      const alike = a && b && a.count === b.count && a.layer.cells.join() === b.layer.cells.join();
      return alike ? new Difference(a, b) : null;
    }));
  }
  return views.get(key);
}

// A plane in colours, as pixels of an ImageData (Uint32Array). `ends` are the values at both ends of the palette.
function paint(plane, ends, palette, out) {
  const [low, high] = ends;
  const scale = 255 / (high - low);
  if (!(high > low)) {
    for (let at = 0; at < plane.length; at++) out[at] = Number.isNaN(plane[at]) ? NAN : Number.isFinite(plane[at]) ? CONSTANT : INFINITE;
    return;
  }
  for (let at = 0; at < plane.length; at++) {
    const level = (plane[at] - low) * scale;
    if (level >= 0 && level <= 255) out[at] = palette[(level + 0.5) | 0];
    else if (level !== level) out[at] = NAN;
    else out[at] = Number.isFinite(plane[at]) ? palette[level < 0 ? 0 : 255] : INFINITE;
  }
}

// -- fields ------------------------------------------------------------------------------------------------------

const fieldsRead = new Map();

// What the units of a layer see along both axes of the picture: `{first, last, shape}` each; null where it is unknown.
function fieldOf(layer) {
  if (!fieldsRead.has(layer.key)) fieldsRead.set(layer.key, readField(layer));
  return fieldsRead.get(layer.key);
}

async function readField(layer) {
  const axes = await Promise.all(layer.field.axes.map(async (each) => {
    if (!each.in) return each;
    const { content } = await payload(each.in);
    const both = new Int32Array(content.buffer);
    const count = both.length / 2;
    return { ...each, first: both.subarray(0, count), last: both.subarray(count) };
  }));
  return axes.length === 2 ? axes : null;
}

function along(axis, unit) {
  let at = 0;
  axis.shape.forEach((size, n) => { at = at * size + Math.min(unit[n], size - 1); });
  return [axis.first[at], axis.last[at]];
}

// The box of a unit, first and last row and first and last column; null for one that sees nothing.
function boxOf(field, channel, frame, y, x) {
  const [rows, columns] = field.map((axis) => along(axis, [channel, frame, y, x]));
  return rows[0] > rows[1] || columns[0] > columns[1] ? null : [...rows, ...columns];
}

// The units of a channel that see a pixel, as the first and last row and column of the rectangle that holds them.
function seenBy(field, view, channel, frame, row, column) {
  let [top, bottom, left, right, count] = [Infinity, -1, Infinity, -1, 0];
  const apart = field[0].shape[3] === 1 && field[1].shape[2] === 1;
  const rows = [];
  for (let y = 0; y < view.height; y++) {
    const [first, last] = along(field[0], [channel, frame, y, 0]);
    if (!apart || (first <= row && row <= last)) rows.push(y);
  }
  for (const y of rows) {
    for (let x = 0; x < view.width; x++) {
      const box = boxOf(field, channel, frame, y, x);
      if (box && box[0] <= row && row <= box[1] && box[2] <= column && column <= box[3]) {
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
        left = Math.min(left, x);
        right = Math.max(right, x);
        count++;
      }
    }
  }
  return count ? { box: [top, bottom, left, right], count } : null;
}
