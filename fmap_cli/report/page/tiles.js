// All channels of a layer as tiles. Only those in sight are drawn: one canvas stays in place while the list scrolls
// beneath it, and what was drawn is kept as small bitmaps.

const GAP = 6;
const LABEL = 15;

class Tiles {
  constructor(box) {
    this.box = box;
    this.space = box.querySelector(".tiles-space");
    this.canvas = box.querySelector("canvas");
    this.pen = this.canvas.getContext("2d");
    this.small = document.createElement("canvas");
    this.drawn = new Map();
    this.order = [];
    this.view = null;
    this.whole = false; // on paper the first tiles stand in one picture
    box.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.lay()).observe(box);
    this.canvas.addEventListener("click", (event) => {
      const at = this.under(event);
      if (at !== null) set({ channel: this.order[at] });
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const at = this.under(event);
      this.canvas.title = at === null ? "" : this.words(this.order[at]);
    });
  }

  show(view) {
    if (this.view !== view) this.drawn.clear();
    this.view = view;
    this.sort();
    this.lay();
  }

  sort() {
    const view = this.view;
    // A channel without places is one value, and so its own maximum.
    const key = !view.layer.isMap ? "max" : !sorts(view.layer, state.sort) || (state.sort !== "index" && !view.numbers[state.sort]) ? "std" : state.sort;
    this.order = Array.from({ length: view.count }, (_, at) => at);
    if (key === "index") return;
    const numbers = view.numbers[key];
    const of = (channel) => (Number.isNaN(numbers[channel]) ? -Infinity : key === "effect" ? Math.abs(numbers[channel]) : numbers[channel]);
    this.order.sort((one, other) => of(other) - of(one) || one - other);
  }

  lay() {
    if (!this.view || !this.view.layer.isMap) return;
    const { height, width } = this.view;
    const room = this.box.clientWidth;
    const aspect = Math.min(Math.max(height / width, 0.2), 4);
    const wish = this.view.count > 400 ? 62 : this.view.count > 40 ? 76 : 96;
    this.across = Math.max(2, Math.floor((room + GAP) / (wish + GAP)));
    this.wide = Math.floor((room - GAP * (this.across - 1)) / this.across);
    this.high = Math.round(this.wide * aspect);
    this.row = this.high + LABEL + GAP;
    this.rows = Math.ceil(this.view.count / this.across);
    this.box.style.maxHeight = this.whole ? "none" : `${this.rowsInSight() * this.row - GAP}px`;
    this.space.style.height = this.whole ? "auto" : `${this.rows * this.row - GAP}px`;
    this.drawn.clear();
    this.draw();
  }

  // So many whole rows as there is room for below, as the page opens; in a page with much above, most of a screen.
  rowsInSight() {
    const screen = window.innerHeight;
    const below = screen - this.box.getBoundingClientRect().top - window.scrollY - 28;
    const narrow = window.innerWidth <= 1100;
    const room = narrow ? Math.min(0.46 * screen, 420) : below > 0.3 * screen ? below : 0.74 * screen;
    return Math.max(narrow ? 2 : 3, Math.floor((Math.min(room, 900) + GAP) / this.row));
  }

  soon() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const { view, pen, canvas } = this;
    if (!view || !view.layer.isMap || !this.row) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const room = [this.whole ? Math.min(this.rows, Math.ceil(64 / this.across)) * this.row : this.box.clientHeight, this.box.clientWidth];
    if (canvas.width !== Math.round(room[1] * ratio) || canvas.height !== Math.round(room[0] * ratio)) {
      canvas.width = Math.round(room[1] * ratio);
      canvas.height = Math.round(room[0] * ratio);
      canvas.style.width = `${room[1]}px`;
      canvas.style.height = `${room[0]}px`;
    }
    const top = this.whole ? 0 : this.box.scrollTop;
    const look = getComputedStyle(document.documentElement);
    const [dim, accent] = [look.getPropertyValue("--dim"), look.getPropertyValue("--accent")];
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, room[1], room[0]);
    pen.font = "11px system-ui, sans-serif";
    const first = Math.floor(top / this.row);
    const last = Math.min(this.rows - 1, Math.floor((top + room[0]) / this.row));
    for (let row = first; row <= last; row++) {
      for (let column = 0; column < this.across; column++) {
        const at = row * this.across + column;
        if (at >= view.count) break;
        const channel = this.order[at];
        const [x, y] = [column * (this.wide + GAP), row * this.row - top];
        pen.imageSmoothingEnabled = view.width > this.wide * ratio;
        pen.drawImage(this.tile(channel, ratio), x, y, this.wide, this.high);
        const chosen = channel === state.channel;
        pen.fillStyle = chosen ? accent : dim;
        pen.fillText(String(channel), x + 1, y + this.high + 11);
        if (this.wide > 70) {
          pen.textAlign = "right";
          pen.fillText(number(this.figure(channel), 3), x + this.wide - 1, y + this.high + 11);
          pen.textAlign = "left";
        }
        if (chosen) {
          pen.strokeStyle = accent;
          pen.lineWidth = 3;
          pen.strokeRect(x + 1.5, y + 1.5, this.wide - 3, this.high - 3);
        }
      }
    }
  }

  // The number under a tile: what the tiles are sorted by.
  figure(channel) {
    const key = state.sort === "index" || !this.view.numbers[state.sort] ? "max" : state.sort;
    return this.view.stat(key, channel);
  }

  tile(channel) {
    let found = this.drawn.get(channel);
    if (!found) {
      found = pictureOf(this.view, channel, state.frame, state.scale);
      this.drawn.set(channel, found);
      if (this.drawn.size > 600) this.drawn.delete(this.drawn.keys().next().value);
    }
    return found;
  }

  repaint() {
    this.drawn.clear();
    this.draw();
  }

  under(event) {
    const rect = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - rect.left, event.clientY - rect.top + this.box.scrollTop];
    const [column, row] = [Math.floor(x / (this.wide + GAP)), Math.floor(y / this.row)];
    const at = row * this.across + column;
    return column < this.across && at < this.view.count && at >= 0 ? at : null;
  }

  words(channel) {
    const view = this.view;
    const name = labelsNow() && view.layer.classes ? ` (${labelsNow()[channel]})` : "";
    return `channel ${channel}${name}: mean ${number(view.stat("mean", channel))}, from ${number(view.stat("min", channel))} to ${number(view.stat("max", channel))}`;
  }

  // Scrolls so that the chosen tile is in sight.
  reveal() {
    if (!this.row) return;
    const at = this.order.indexOf(state.channel);
    const top = Math.floor(at / this.across) * this.row;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.row > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + this.row - this.box.clientHeight;
    const now = el("tile-now");
    now.setAttribute("aria-setsize", this.order.length);
    now.setAttribute("aria-posinset", at + 1);
    now.textContent = this.words(state.channel);
    this.box.setAttribute("aria-activedescendant", "tile-now");
  }
}

// A channel's map as a small canvas, a pixel a unit.
function pictureOf(view, channel, frame, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = view.width;
  canvas.height = view.height;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(view.width, view.height);
  paint(view.plane(channel, Math.min(frame, view.frames - 1)), view.ends(channel, scale), view.palette(scale), new Uint32Array(image.data.buffer));
  pen.putImageData(image, 0, 0);
  return canvas;
}
