// The photo and the chosen channel, large and side by side: one place in the picture is marked in all of them.

const hover = { unit: null, pixel: null, pass: 0, picture: 0 };
let panes = [];
let field = null; // what the units of the layer see

class Pane {
  // `view` null is the photo itself, of several the one of the number `picture`.
  constructor(title, pass, view, picture = 0) {
    Object.assign(this, { title, pass, view, picture });
    this.base = make("canvas", { "aria-hidden": "true" });
    this.marks = make("canvas", { tabindex: "0", role: "img" });
    this.stack = make("div", { class: "stack" }, this.base, this.marks);
    this.value = make("span", { title: "the value of the unit pointed at; else those at both ends of the colours" });
    this.figure = make("figure", { class: "pane" }, make("figcaption", {}, make("b", { text: title, title }), this.value), this.stack);
    this.bitmap = null;
    this.listen();
  }

  listen() {
    const stack = this.stack;
    let drag = null;
    let pinch = null;
    const fingers = new Map();
    const between = () => {
      const [one, other] = fingers.values();
      const middle = { clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 };
      return { apart: Math.max(Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY), 1), middle };
    };
    const lift = (event) => {
      fingers.delete(event.pointerId);
      if (fingers.size < 2) pinch = null;
    };
    stack.addEventListener("pointermove", (event) => {
      if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event);
      if (pinch && fingers.size === 2) {
        // What was between the fingers stays between them.
        const { apart, middle } = between();
        const zoom = Math.min(Math.max((pinch.zoom * apart) / pinch.apart, 1), 32);
        const box = stack.getBoundingClientRect();
        const [u, v] = [(middle.clientX - box.left) / box.width - 0.5, (middle.clientY - box.top) / box.height - 0.5];
        set({ zoom, at: clampAt([pinch.place[0] - u / zoom, pinch.place[1] - v / zoom], zoom) });
        return;
      }
      if (drag && drag.at && state.zoom > 1) {
        const box = stack.getBoundingClientRect();
        const [u, v] = [drag.at[0] - (event.clientX - drag.x) / box.width / state.zoom, drag.at[1] - (event.clientY - drag.y) / box.height / state.zoom];
        drag.moved = drag.moved || Math.abs(event.clientX - drag.x) + Math.abs(event.clientY - drag.y) > 4;
        set({ at: clampAt([u, v], state.zoom) });
        return;
      }
      this.point(event);
    });
    stack.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") fingers.set(event.pointerId, event);
      if (fingers.size === 2) {
        const { apart, middle } = between();
        pinch = { apart, zoom: state.zoom, place: this.place(middle) };
        drag = { moved: true }; // no click comes of it
        return;
      }
      drag = { x: event.clientX, y: event.clientY, at: [...state.at], moved: false };
      if (event.pointerType !== "mouse") this.point(event);
      if (state.zoom > 1) stack.setPointerCapture(event.pointerId);
    });
    stack.addEventListener("pointerup", (event) => {
      const moved = drag && drag.moved;
      lift(event);
      if (!fingers.size) drag = null;
      if (!moved) this.choose(event);
    });
    stack.addEventListener("pointercancel", (event) => {
      lift(event);
      drag = null;
    });
    stack.addEventListener("pointerleave", (event) => {
      lift(event);
      if (!fingers.size) drag = null;
      hover.unit = hover.pixel = null;
      soonMarks();
    });
    stack.addEventListener("wheel", (event) => {
      const zoom = Math.min(Math.max(state.zoom * (event.deltaY < 0 ? 1.25 : 0.8), 1), 32);
      if (zoom === state.zoom) return; // at its end the page scrolls
      event.preventDefault();
      const [u, v] = this.place(event);
      const share = state.zoom / zoom;
      set({ zoom, at: clampAt([u + (state.at[0] - u) * share, v + (state.at[1] - v) * share], zoom) });
    }, { passive: false });
    this.marks.addEventListener("keydown", (event) => this.key(event));
  }

  // Where in the picture the pointer is, 0..1 across and down.
  place(event) {
    const box = this.stack.getBoundingClientRect();
    return [
      state.at[0] + ((event.clientX - box.left) / box.width - 0.5) / state.zoom,
      state.at[1] + ((event.clientY - box.top) / box.height - 0.5) / state.zoom,
    ];
  }

  point(event) {
    const [u, v] = this.place(event);
    if (!(u >= 0 && u < 1 && v >= 0 && v < 1)) return;
    hover.unit = hover.pixel = null;
    if (this.view) hover.unit = unitAt(this.view, u, v);
    else Object.assign(hover, { pixel: [Math.floor(v * passNow().size[0]), Math.floor(u * passNow().size[1])], pass: this.pass, picture: this.picture });
    soonMarks();
  }

  // A click on a map pins the unit, another one lets it go; one on the photo chooses the unit at that place.
  choose(event) {
    const [u, v] = this.place(event);
    const main = mainView();
    if (!main || !(u >= 0 && u < 1 && v >= 0 && v < 1)) return;
    const unit = unitAt(this.view || main, u, v);
    if (this.view) togglePin(unit);
    else set({ unit });
  }

  key(event) {
    const main = mainView();
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!main) return;
    if (move) {
      const [y, x] = state.unit || strongest(main);
      set({ unit: [Math.min(Math.max(y + move[0], 0), main.height - 1), Math.min(Math.max(x + move[1], 0), main.width - 1)] });
    } else if (event.key === "Enter" || event.key === " ") togglePin(state.unit || strongest(main));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  size() {
    const [height, width] = passNow().size;
    // As wide as there is room for, and no higher than most of a screen; the picture keeps its proportions.
    const high = Math.max(Math.round(Math.min((this.figure.clientWidth * height) / width, 720, Math.max(0.8 * window.innerHeight, 300))), 1);
    const wide = Math.max(Math.min(Math.round((high * width) / height), this.figure.clientWidth), 1);
    this.stack.style.height = `${high}px`;
    this.stack.style.width = `${wide}px`;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.base, this.marks]) {
      if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
        canvas.width = Math.round(wide * ratio);
        canvas.height = Math.round(high * ratio);
      }
    }
  }

  // From places in the picture, 0..1, to pixels of the canvas.
  frame() {
    const { width, height } = this.base;
    return { wide: width * state.zoom, high: height * state.zoom, left: width * (0.5 - state.at[0] * state.zoom), top: height * (0.5 - state.at[1] * state.zoom) };
  }

  draw() {
    // A finger that moves over a picture scrolls the page, over an enlarged one it moves what is seen of it.
    this.stack.classList.toggle("enlarged", state.zoom > 1);
    const pen = this.base.getContext("2d");
    const { wide, high, left, top } = this.frame();
    pen.clearRect(0, 0, this.base.width, this.base.height);
    const photo = photoOf(this.pass === "diff" ? 0 : this.pass, this.picture);
    const over = this.view && state.alpha < 100;
    if ((!this.view || over) && photo) {
      pen.imageSmoothingEnabled = wide < 4 * photo.plain.width;
      pen.drawImage(over ? photo.gray : photo.plain, left, top, wide, high);
    }
    if (this.bitmap) {
      pen.imageSmoothingEnabled = false;
      pen.globalAlpha = state.alpha / 100;
      pen.drawImage(this.bitmap, left, top, wide, high);
      pen.globalAlpha = 1;
    }
  }

  // Outlines a part of the picture given by its edges, 0..1.
  outline(pen, [top, bottom, left, right], colour, name) {
    const own = this.frame();
    const ratio = this.base.width / Math.max(this.stack.clientWidth, 1);
    const [x, y] = [own.left + left * own.wide, own.top + top * own.high];
    const [w, h] = [Math.max((right - left) * own.wide, 2), Math.max((bottom - top) * own.high, 2)];
    for (const [wide, ink] of [[4 * ratio, "rgb(255 255 255 / 85%)"], [2 * ratio, colour]]) {
      pen.lineWidth = wide;
      pen.strokeStyle = ink;
      pen.strokeRect(x, y, w, h);
    }
    if (name) {
      pen.font = `600 ${12 * ratio}px system-ui, sans-serif`;
      const room = pen.measureText(name).width + 8 * ratio;
      const [tx, ty] = [Math.min(Math.max(x, 0), this.base.width - room), Math.max(y - 17 * ratio, 0)];
      pen.fillStyle = colour;
      pen.fillRect(tx, ty, room, 16 * ratio);
      pen.fillStyle = "#fff";
      pen.fillText(name, tx + 4 * ratio, ty + 12.5 * ratio);
    }
  }
}

const MARK = "#d1480a";
const PIN = "#0f6c81";

function clampAt([u, v], zoom) {
  const half = 0.5 / zoom;
  return [Math.min(Math.max(u, half), 1 - half), Math.min(Math.max(v, half), 1 - half)];
}

const unitAt = (view, u, v) => [Math.min(Math.floor(v * view.height), view.height - 1), Math.min(Math.floor(u * view.width), view.width - 1)];

function mainView() {
  return panes.find((each) => each.main)?.view || null;
}

// The place of a channel's largest value.
function strongest(view) {
  const plane = view.plane(state.channel, frameOf(view));
  let best = 0;
  for (let at = 1; at < plane.length; at++) if (plane[at] > plane[best] || Number.isNaN(plane[best])) best = at;
  return [Math.floor(best / view.width), best % view.width];
}

const frameOf = (view) => Math.min(state.frame, view.frames - 1);

function togglePin(unit) {
  const key = unit.join();
  const without = state.pins.filter((each) => each.join() !== key);
  set({ unit, pins: without.length < state.pins.length ? without : [...state.pins, unit].slice(-12) });
}

// -- the photos --------------------------------------------------------------------------------------------------

const photos = [];

// One of a pass's pictures; of a clip the frame that is shown, in the middle of those that a coarser map's frame is made of.
function photoOf(pass, picture) {
  const own = photos[pass] || [];
  if (!DATA.passes[pass].clip || own.length < 2) return own[picture];
  const frames = mainView()?.frames || 1;
  return own[frames > 1 ? Math.min(Math.floor(((frameOf(mainView()) + 0.5) * own.length) / frames), own.length - 1) : Math.min(state.frame, own.length - 1)];
}

async function readPhotos() {
  await Promise.all(DATA.passes.flatMap((pass, at) => pass.pictures.map(async (_, number) => {
    const image = el(`photo-${at}-${number}`);
    photos[at] = photos[at] || [];
    if (!image) return;
    await image.decode().catch(() => {});
    const gray = document.createElement("canvas");
    [gray.height, gray.width] = pass.size;
    const pen = gray.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, gray.width, gray.height);
    const rgb = new Uint8ClampedArray(pixels.data);
    const data = pixels.data;
    for (let n = 0; n < data.length; n += 4) {
      // Neither black nor white, so that colours over it are seen everywhere.
      data[n] = data[n + 1] = data[n + 2] = 36 + 0.72 * (0.299 * data[n] + 0.587 * data[n + 1] + 0.114 * data[n + 2]);
    }
    pen.putImageData(pixels, 0, 0);
    photos[at][number] = { plain: image, gray, rgb, width: gray.width };
  })));
}

// -- what stands side by side ------------------------------------------------------------------------------------

// The values at both ends of a pane's colours, where no unit is pointed at.
function endsInWords(view, channel) {
  const [low, high] = view.ends(channel, state.scale);
  return `${number(low)} … ${number(high)}`;
}

async function layPanes() {
  const layer = layerNow();
  const pass = passIndex();
  const named = (text, words) => (words ? `${text} · ${words}` : text);
  const made = [];
  if (sides && alone() === null) {
    const [a, b, difference] = await Promise.all([viewOf(0, layer.name), viewOf(1, layer.name), differenceOf(layer.name)]);
    made.push(new Pane("photo A", 0, null), new Pane("A", 0, a), ...(b ? [new Pane("B", 1, b)] : []));
    if (difference) made.push(new Pane("B - A", "diff", difference));
    const wish = { 0: "A", 1: "B", diff: "B - A" }[state.side];
    (made.find((each) => each.title === wish) || made[1]).main = true;
  } else {
    const before = layer.before ? await viewOf(pass, layer.before) : null;
    const main = new Pane(named(layer.name, before ? "after" : ""), pass, await viewOf(pass, layer.name));
    main.main = true;
    const { pictures, clip, photo } = passNow();
    const several = pictures.length > 1 && !clip;
    (several ? pictures : pictures.slice(0, 1)).forEach((name, at) => made.push(new Pane(!photo ? "where the photo was" : several ? `${at + 1}: ${name}` : "photo", pass, null, at)));
    if (before) made.push(new Pane(named(layer.before, "before"), pass, before));
    made.push(main);
  }
  panes = made;
  field = await fieldOf(layer);
  const box = el("panes");
  box.style.setProperty("--panes", window.innerWidth < 640 ? 2 : Math.min(made.length, made.length === 4 ? 2 : 3));
  box.replaceChildren(...made.map((each) => each.figure));
  for (const each of panes) each.size();
}

function drawPanes() {
  for (const each of panes) {
    if (each.view) each.bitmap = pictureOf(each.view, Math.min(state.channel, each.view.count - 1), state.frame, state.scale);
    each.draw();
  }
  drawMarks();
}

let marksWaiting = false;

function soonMarks() {
  if (marksWaiting) return;
  marksWaiting = true;
  requestAnimationFrame(() => {
    marksWaiting = false;
    drawMarks();
    for (const told of hoverWatchers) told();
  });
}

const hoverWatchers = [];

function drawMarks() {
  const main = mainView();
  if (!main) return;
  const unit = hover.unit || (hover.pixel ? null : state.unit);
  const frame = frameOf(main);
  const [height, width] = passNow().size;
  const [down, across] = passNow().scale;
  const boxOnPhoto = (at) => {
    const box = field && boxOf(field, state.channel, frame, ...at);
    return box && [(box[0] * down) / height, ((box[1] + 1) * down) / height, (box[2] * across) / width, ((box[3] + 1) * across) / width];
  };
  // Of a pair some layers' maps are the first picture's alone.
  const sees = (pane) => !layerNow().ofFirst || pane.picture === 0;
  const seen = hover.pixel && field && (!layerNow().ofFirst || hover.picture === 0) ? seenBy(field, main, state.channel, frame, Math.floor(hover.pixel[0] / down), Math.floor(hover.pixel[1] / across)) : null;
  for (const pane of panes) {
    const pen = pane.marks.getContext("2d");
    pen.clearRect(0, 0, pane.marks.width, pane.marks.height);
    const own = pane.view;
    const cell = ([y, x], like = main) => [y / like.height, (y + 1) / like.height, x / like.width, (x + 1) / like.width];
    state.pins.forEach((pin, at) => {
      const edges = own ? cell(pin) : sees(pane) && boxOnPhoto(pin);
      if (edges) pane.outline(pen, edges, PIN, String(at + 1));
    });
    if (unit) {
      const edges = own ? cell(unit) : sees(pane) && boxOnPhoto(unit);
      if (edges) pane.outline(pen, edges, MARK);
    }
    if (hover.pixel) {
      const [row, column] = hover.pixel;
      if (!own && pane.picture === hover.picture) pane.outline(pen, [row / height, (row + 1) / height, column / width, (column + 1) / width], MARK);
      else if (own && seen) pane.outline(pen, [seen.box[0] / main.height, (seen.box[1] + 1) / main.height, seen.box[2] / main.width, (seen.box[3] + 1) / main.width], MARK);
    }
    if (own) {
      const channel = Math.min(state.channel, own.count - 1);
      pane.value.textContent = unit ? number(own.value(channel, frameOf(own), ...unit)) : endsInWords(own, channel);
    }
    pane.marks.setAttribute("aria-label", own
      ? `${pane.title}, channel ${state.channel}, ${own.height} by ${own.width} units. Arrow keys move from unit to unit, Enter pins one.`
      : `${pane.title} with what the chosen unit sees`);
  }
  hover.seen = seen;
}
