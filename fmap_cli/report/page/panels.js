// What is said in words and numbers of the layer, the channel and the unit.

function layerWords(layer) {
  const [frames, height, width] = layer.cells;
  const cells = layer.isMap ? `${frames > 1 ? `${frames} frames of ` : ""}${height} × ${width}` : "no places";
  const sees = layer.isMap && layer.field.words ? ` · a unit sees ${layer.field.words}${layer.field.beyond ? ", counting what lies beyond the picture's border" : ""}${layer.field.why ? ` (${layer.field.why})` : ""}` : "";
  const side = alone();
  const only = side === null ? "" : ` · ${"AB"[side]} alone has it`;
  return `${layer.type} · ${counted(layer.count, layer.isMap ? "channel" : "value")}, ${cells}${sees}${only}`;
}

function className(channel) {
  return labelsNow() && layerNow().classes ? ` ${labelsNow()[channel]}` : "";
}

// -- one unit ----------------------------------------------------------------------------------------------------

function sayUnit() {
  const out = el("readout");
  const main = mainView();
  if (!main || !layerNow().isMap) return;
  if (hover.pixel) {
    const [row, column] = hover.pixel;
    const photo = photoOf(hover.pass, hover.picture);
    const at = photo ? 4 * (row * photo.width + column) : 0;
    const about = DATA.passes[hover.pass].exact ? "" : "about ";
    const colour = photo ? `, ${about}red ${photo.rgb[at]}, green ${photo.rgb[at + 1]}, blue ${photo.rgb[at + 2]}` : "";
    const found = hover.seen;
    const words = layerNow().ofFirst && hover.picture > 0 ? "no unit of this channel sees it: these maps are the first picture's"
      : !field ? "which units see it is not known"
      : found ? `seen by ${counted(found.count, "unit")} of this channel: rows ${found.box[0]}–${found.box[1]}, columns ${found.box[2]}–${found.box[3]}`
        : "no unit of this channel sees it";
    out.textContent = `Pixel ${row}, ${column}${colour}: ${words}.`;
    return;
  }
  const unit = hover.unit || state.unit;
  if (!unit) {
    out.textContent = "Point at a unit to see its value and what it sees on the photo; at a pixel to see which units see it. A click pins a unit.";
    return;
  }
  out.textContent = unitWords(main, unit);
}

function unitWords(view, [y, x]) {
  const frame = frameOf(view);
  const value = view.value(state.channel, frame, y, x);
  const error = view.error(state.channel);
  const off = error > 0 && Number.isFinite(value) ? ` ± ${number(error, 2)}` : "";
  const at = `row ${y}, column ${x}${view.frames > 1 ? `, frame ${frame}` : ""}`;
  const box = field && boxOf(field, state.channel, frame, y, x);
  const sees = !field ? `sees ${layerNow().field.words || "what is not known"}`
    : box ? `sees rows ${box[0]}–${box[1]} and columns ${box[2]}–${box[3]} of the photo (${box[1] - box[0] + 1} × ${box[3] - box[2] + 1} px)`
      : "sees nothing of the photo";
  const beside = panes.filter((pane) => pane.view && pane.view !== view && sides && alone() === null)
    .map((pane) => `, ${pane.title} ${number(pane.view.value(state.channel, frame, y, x))}`).join("");
  const of = beside ? `${(panes.find((pane) => pane.view === view) || { title: "" }).title} ` : "";
  const frames = view.frames > 1 && box ? ", in this frame and, where layers look along time, in those around it" : "";
  return `${of}${number(value)}${off}${beside} at ${at}; ${sees}${frames}.`;
}

function sayPins() {
  const main = mainView();
  el("pins").replaceChildren(...(main && layerNow().isMap ? state.pins : []).map((pin, at) => {
    const away = make("button", { type: "button", "aria-label": `Let go of pin ${at + 1}`, text: "×" });
    away.addEventListener("click", () => set({ pins: state.pins.filter((each) => each !== pin) }));
    return make("li", {}, make("b", { text: String(at + 1) }), `${number(main.value(state.channel, frameOf(main), ...pin))} at ${pin.join(", ")}`, away);
  }));
}

// -- the channel and the layer -----------------------------------------------------------------------------------

// Statistics are over the finite values: one that is not a number does not exist (a deviation of a single value).
const known = (value) => (value === null || Number.isNaN(value) ? "–" : number(value));

function sayNumbers() {
  const view = mainView();
  const layer = view.layer;
  const rows = [["", "channel", "layer"]];
  const stats = layer.stats;
  for (const [key, title] of [["mean", "mean"], ["std", "std"], ["min", "min"], ["max", "max"]]) {
    rows.push([title, known(view.stat(key, state.channel)), known(stats[key])]);
  }
  rows.push(["zeros", percent(view.stat("zeros", state.channel)), percent(stats.zeros)]);
  if (layer.effect) rows.push(["effect on the answer (estimate)", number(view.stat("effect", state.channel)), ""]);
  if (stats.nan || stats.inf) rows.push(["NaN, ∞", "", `${stats.nan}, ${stats.inf}`]);
  rows.push(["page exact to", `± ${number(view.error(state.channel), 2)}`, layer.error === null ? "" : `± ${number(layer.error, 2)}`]);
  const [head, ...body] = rows;
  el("numbers").replaceChildren(
    make("thead", {}, make("tr", {}, make("td"), ...head.slice(1).map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...body.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row", text: name }), ...cells.map((text) => make("td", { text })))))
  );
}

const BINS = 48;

function drawHistogram() {
  const view = mainView();
  const canvas = el("histogram");
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.max(Math.round(canvas.clientWidth * ratio), 1);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const pen = canvas.getContext("2d");
  const [low, high] = [view.layer.stats.min, view.layer.stats.max];
  pen.clearRect(0, 0, canvas.width, canvas.height);
  if (low === null || !(high > low)) return;
  const counted = (planes, every) => {
    const bins = new Float64Array(BINS);
    let count = 0;
    for (const plane of planes) {
      for (let at = 0; at < plane.length; at += every) {
        if (!Number.isFinite(plane[at])) continue;
        bins[Math.min(Math.floor(((plane[at] - low) / (high - low)) * BINS), BINS - 1)]++;
        count++;
      }
    }
    return bins.map((each) => each / Math.max(count, 1));
  };
  if (!view.histogram) {
    // Of large layers a share of the values tells what a picture of 48 bars needs.
    const step = Math.max(1, Math.floor((view.count * view.size) / 200000));
    const planes = [];
    for (let channel = 0; channel < view.count; channel += step) {
      const plane = new Float64Array(view.size);
      view.fill(channel, frameOf(view), plane);
      planes.push(plane);
    }
    view.histogram = counted(planes, Math.max(1, Math.floor((planes.length * view.size) / 40000)));
  }
  const own = view.layer.isMap ? counted([view.plane(state.channel, frameOf(view))], 1) : null;
  const most = Math.max(...view.histogram, ...(own || [0]));
  const look = getComputedStyle(document.documentElement);
  const colour = (name) => look.getPropertyValue(name);
  const tall = canvas.height - 16 * ratio;
  // The root of the share: a peak at zero would leave nothing of all else.
  const bar = (bins, at) => Math.sqrt(bins[at] / most) * tall;
  const wide = canvas.width / BINS;
  pen.fillStyle = colour("--track");
  for (let at = 0; at < BINS; at++) pen.fillRect(at * wide, tall - bar(view.histogram, at), wide - ratio, bar(view.histogram, at));
  if (own) {
    pen.strokeStyle = colour("--accent");
    pen.lineWidth = 2 * ratio;
    pen.beginPath();
    for (let at = 0; at < BINS; at++) {
      pen.lineTo(at * wide, tall - bar(own, at));
      pen.lineTo((at + 1) * wide, tall - bar(own, at));
    }
    pen.stroke();
  }
  pen.fillStyle = colour("--dim");
  pen.font = `${11 * ratio}px system-ui, sans-serif`;
  pen.fillText(number(low, 3), 0, canvas.height - 3 * ratio);
  pen.textAlign = "right";
  pen.fillText(number(high, 3), canvas.width, canvas.height - 3 * ratio);
  canvas.setAttribute("aria-label", `Distribution from ${number(low, 3)} to ${number(high, 3)}: the layer's values as bars, channel ${state.channel}'s as a line, heights as roots of shares`);
}

function sayLayer() {
  const layer = layerNow();
  el("layer-name").textContent = layer.name;
  el("layer-words").textContent = layerWords(layer);
  el("layer-facts").replaceChildren(...layer.facts.map(([name, words]) => make("div", {}, make("dt", { text: name }), make("dd", { text: words }))));
  el("layer-findings").replaceChildren(
    ...layer.findings.map((each) => make("p", { class: `finding ${each.severity}` }, make("b", { text: `${each.severity}: ` }), `${each.what} ${each.caution} `, make("span", { class: "dim", text: each.advice }))),
    ...layer.notes.map((text) => make("p", { class: "finding", text: `Note: ${text}.` }))
  );
  for (const chip of document.querySelectorAll(".chip")) {
    const now = chip.dataset.layer === layer.name;
    if (now) chip.setAttribute("aria-current", "true");
    else chip.removeAttribute("aria-current");
    if (now) {
      for (const each of document.querySelectorAll(".strip > ol > li")) each.classList.remove("now");
      chip.closest("ol > li").classList.add("now");
    }
  }
}

async function drawComponents() {
  const layer = layerNow();
  const box = el("components");
  box.hidden = layer.components === null;
  if (box.hidden) return;
  const { content } = await payload(`components-${layer.key}`);
  const [, height, width] = layer.cells;
  const canvas = box.querySelector("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(width, height);
  const start = Math.min(state.frame, layer.cells[0] - 1) * height * width * 3;
  for (let at = 0; at < height * width; at++) {
    for (let n = 0; n < 3; n++) image.data[4 * at + n] = content[start + 3 * at + n];
    image.data[4 * at + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  const words = `The whole layer as colours: where its channels respond alike it has one colour. ${layer.components}`;
  box.querySelector("figcaption").textContent = words;
  canvas.setAttribute("aria-label", `${layer.name}, its principal components as colours`);
}

function drawScale() {
  const view = mainView();
  const canvas = el("colour-bar");
  const ends = view.ends(state.channel, state.scale);
  canvas.width = 256;
  canvas.height = 1;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(view.palette(state.scale));
  pen.putImageData(image, 0, 0);
  el("low").textContent = number(ends[0], 3);
  el("high").textContent = number(ends[1], 3);
}

// -- layers without places ---------------------------------------------------------------------------------------

const MOST_BARS = 24;

function drawBars() {
  const view = mainView();
  const values = (channel) => view.value(channel, 0, 0, 0);
  const first = tiles.order.slice(0, MOST_BARS);
  const added = !first.includes(state.channel);
  const shown = added ? [...first, state.channel] : first;
  // Bars start at zero, which stands where the values around it put it: those below go left.
  const finite = shown.map(values).filter(Number.isFinite);
  const low = Math.min(0, ...finite);
  const span = Math.max(Math.max(0, ...finite) - low, 1e-300);
  el("bars").replaceChildren(
    make("p", { class: "dim", text: `The ${Math.min(MOST_BARS, view.count)} largest of ${counted(view.count, "value")}${added ? `, and the chosen one, ${state.channel}` : ""}; this layer has no height and width.` }),
    make("ol", {}, ...shown.map((channel) => {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      bar.setAttribute("viewBox", "0 0 100 10");
      bar.setAttribute("preserveAspectRatio", "none");
      bar.setAttribute("aria-hidden", "true");
      const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const value = Number.isFinite(values(channel)) ? values(channel) : 0;
      rect.setAttribute("x", String((100 * (Math.min(value, 0) - low)) / span));
      rect.setAttribute("width", String((100 * Math.abs(value)) / span));
      rect.setAttribute("height", "10");
      if (values(channel) < 0) rect.setAttribute("class", "below-zero");
      bar.append(rect);
      const name = `${channel}${className(channel)}`;
      return make("li", {}, make("span", { text: name, title: name }), bar, make("span", { text: number(values(channel)) }));
    }))
  );
}

// -- arithmetic --------------------------------------------------------------------------------------------------

const SHOWN_TERMS = 3;

async function sayArithmetic() {
  const layer = layerNow();
  const box = el("arithmetic");
  const unit = hover.unit || state.unit;
  const main = mainView();
  box.hidden = !(layer.kind === "conv" && layer.isMap && unit && main && !(main instanceof Difference));
  if (box.hidden) return;
  const [y, x] = unit;
  const words = el("arithmetic-words");
  if (!layer.arithmetic) {
    words.replaceChildren("This page does not hold what this layer reads and its weights. In a shell: ",
      make("code", { text: `${DATA.command} --layer ${layer.name} --channel ${state.channel} --at ${y},${x}` }));
    el("arithmetic-terms").replaceChildren();
    return;
  }
  const key = `${layer.key} ${state.channel} ${y} ${x}`;
  box.dataset.of = key;
  const found = await termsOf(layer, main, y, x);
  if (box.dataset.of !== key) return; // another unit by now
  const sum = found.terms.reduce((total, each) => total + each.sum, 0);
  const value = main.value(state.channel, 0, y, x);
  words.textContent = `bias ${number(found.bias)} + Σ input × weight over ${counted(found.terms.length, "input channel")} ${number(sum)} = ${number(found.bias + sum)}; on this page the value is ${number(value)} ± ${number(main.error(state.channel), 2)}. Below, of the input channels that count most: input × weights = products, each column on a scale of its own, red above 0 and blue below.`;
  const order = [...found.terms].sort((one, other) => Math.abs(other.sum) - Math.abs(one.sum)).slice(0, SHOWN_TERMS);
  const far = (name) => Math.max(...order.flatMap((each) => Array.from(each[name], Math.abs)), 1e-30);
  const farthest = { patch: far("patch"), kernel: far("kernel"), product: far("product") };
  el("arithmetic-terms").replaceChildren(...order.map((each) => make("div", { class: "term" },
    make("span", { class: "name", text: each.name }),
    small(each.patch, found.wide, farthest.patch, `what channel ${each.name} is under the kernel`), "×",
    small(each.kernel, found.wide, farthest.kernel, "weights"), "=",
    small(each.product, found.wide, farthest.product, "products"),
    make("span", { text: `adds up to ${number(each.sum)}` }))));
}

// A few values as a picture in colours around zero.
function small(values, wide, far, words) {
  const canvas = make("canvas", { role: "img", "aria-label": words, width: wide, height: values.length / wide, title: words });
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  paint(values, [-far, far], paletteOf("RdBu_r"), new Uint32Array(image.data.buffer));
  pen.putImageData(image, 0, 0);
  return canvas;
}

// A convolution's value as its terms: for each input channel the patch, the kernel, and their products.
async function termsOf(layer, view, y, x) {
  const own = layer.arithmetic;
  const [, inputs, high, wide] = own.shape;
  const { content } = await payload(`weights-${layer.key}`);
  const size = own.shape.reduce((product, each) => product * each, 1);
  const weights = new Float32Array(content.buffer, 0, size);
  const bias = new Float32Array(content.buffer, 4 * size)[state.channel];
  const pass = sides && alone() === null && state.side === "1" ? 1 : passIndex();
  const read = own.reads ? await viewOf(pass, own.reads) : null;
  const photo = photoOf(pass, 0);
  const [height, width] = read ? [read.height, read.width] : DATA.passes[pass].size;
  const value = (channel, row, column) => {
    if (row < 0 || column < 0 || row >= height || column >= width) return 0;
    if (read) return read.value(channel, 0, row, column);
    return (photo.rgb[4 * (row * width + column) + channel] / 255 - own.mean[channel]) / own.std[channel];
  };
  const group = Math.floor(state.channel / (own.shape[0] / own.groups));
  const terms = [];
  for (let n = 0; n < inputs; n++) {
    const channel = group * inputs + n;
    const [patch, kernel, product] = [new Float64Array(high * wide), new Float64Array(high * wide), new Float64Array(high * wide)];
    let sum = 0;
    for (let v = 0; v < high; v++) {
      for (let u = 0; u < wide; u++) {
        const at = v * wide + u;
        kernel[at] = weights[((state.channel * inputs + n) * high + v) * wide + u];
        patch[at] = value(channel, y * own.stride[0] - own.padding[0] + v * own.dilation[0], x * own.stride[1] - own.padding[1] + u * own.dilation[1]);
        product[at] = kernel[at] * patch[at];
        sum += product[at];
      }
    }
    terms.push({ name: read ? `channel ${channel}` : ["red", "green", "blue"][channel], patch, kernel, product, sum });
  }
  return { bias, terms, wide };
}
