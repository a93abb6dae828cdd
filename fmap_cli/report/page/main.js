// Puts the parts together and starts.

const tiles = new Tiles(el("tiles"));

function fillSorts() {
  el("sort").replaceChildren(...SORTS.filter(([key]) => sorts(layerNow(), key)).map(([key, words]) => make("option", { value: key, text: words })));
  el("sort").value = sorts(layerNow(), state.sort) ? state.sort : "std";
}

// A layer, or another picture of it, is shown from the start.
let showing = 0;

async function showLayer() {
  const turn = ++showing;
  const layer = layerNow();
  sayLayer();
  fillSorts();
  hover.unit = hover.pixel = null;
  await layPanes();
  if (turn !== showing) return; // another layer was asked for meanwhile
  const view = mainView();
  const isMap = layer.isMap;
  for (const id of ["panes", "tiles"]) el(id).hidden = !isMap;
  for (const each of document.querySelectorAll(".all, .one-head, .readout")) each.hidden = !isMap;
  document.querySelector(".columns").style.gridTemplateColumns = isMap ? "" : "1fr";
  el("bars").hidden = isMap;
  if (isMap) tiles.show(view);
  else tiles.view = view;
  if (!isMap) tiles.sort();
  const fit = (unit) => unit[0] < view.height && unit[1] < view.width;
  const channel = state.channel !== null && state.channel < view.count ? state.channel : tiles.order[0];
  const unit = isMap && state.unit && fit(state.unit) ? state.unit : null;
  const pins = isMap ? state.pins.filter(fit) : [];
  Object.assign(state, { channel, unit, pins });
  writeHash();
  const frames = framesOf(layer);
  document.querySelector(".frames").hidden = frames < 2 || !isMap;
  el("frame").max = frames - 1;
  el("frame").value = Math.min(state.frame, frames - 1);
  if (el("side")) el("side").disabled = alone() !== null;
  el("find").max = view.count - 1;
  sayTiles();
  drawComponents();
  showChannel();
}

// How many frames can be gone through: a layer's, or where it has one those of the clip.
function framesOf(layer) {
  const { clip, pictures } = passNow();
  return layer.cells[0] > 1 ? layer.cells[0] : clip ? pictures.length : 1;
}

function sayTiles() {
  const { view } = tiles;
  const wide = tiles.wide > 70 ? ` and ${words(state.sort)}` : "";
  el("tiles-words").textContent = `${counted(view.count, "channel")}; under each its number${wide}.`;
}

function markFrame() {
  const own = photos[passIndex()] || [];
  const now = own.indexOf(photoOf(passIndex(), 0));
  for (const each of document.querySelectorAll(`.answer[data-pass="${passIndex()}"] [data-frame]`)) each.classList.toggle("now", Number(each.dataset.frame) === now);
}

const words = (sort) => ({ index: "maximum", std: "standard deviation", zeros: "share of zeros" }[sort] || (SORTS.find(([key]) => key === sort) || ["", "std"])[1]);

function showChannel() {
  const view = mainView();
  if (!view || state.channel === null || state.channel >= view.count) return;
  const at = tiles.order.indexOf(state.channel);
  el("channel-name").textContent = `Channel ${state.channel}${className(state.channel)}`;
  if (document.activeElement !== el("find")) el("find").value = state.channel;
  if (view.layer.isMap) {
    drawPanes();
    drawScale();
    tiles.reveal();
    tiles.draw();
    el("channel-name").title = `tile ${at + 1} of ${view.count}`;
  } else drawBars();
  sayNumbers();
  drawHistogram();
  sayDossier();
  markFrame();
  showUnit();
}

function showUnit() {
  drawMarks();
  sayUnit();
  sayPins();
  sayArithmetic();
}

watch((changed) => {
  if (changed.has("layer") || changed.has("pass") || changed.has("side")) showLayer();
  else if (changed.has("sort") || changed.has("scale") || changed.has("cmap") || changed.has("frame")) {
    if (tiles.view && tiles.view.layer.isMap) {
      tiles.sort();
      tiles.repaint();
    }
    sayTiles();
    drawComponents();
    showChannel();
  } else if (changed.has("channel")) showChannel();
  else if (changed.has("zoom") || changed.has("at") || changed.has("alpha")) {
    for (const each of panes) each.draw();
    showUnit();
  } else showUnit();
});

hoverWatchers.push(sayUnit, sayArithmetic);

// -- what people do ----------------------------------------------------------------------------------------------

function step(by) {
  const at = tiles.order.indexOf(state.channel);
  set({ channel: tiles.order[Math.min(Math.max(at + by, 0), tiles.order.length - 1)] });
}

function stepLayer(by) {
  const layers = layersNow();
  const at = layers.indexOf(layerNow());
  goTo(layers[Math.min(Math.max(at + by, 0), layers.length - 1)].name);
}

// Another layer of the same image. Between maps and vectors the number of a channel says nothing: it is not kept.
function goTo(name) {
  const layer = layersNow().find((each) => each.name === name) || layerNow();
  const keeps = (layer.isMap && layerNow().isMap) || name === layerNow().name;
  // A coarser layer has fewer frames: the same moment of the clip is shown.
  const [before, after] = [framesOf(layerNow()), framesOf(layer)];
  const frame = after === before ? state.frame : Math.floor(((state.frame + 0.5) * after) / before);
  set({ layer: name, frame: Math.max(Math.min(frame, after - 1), 0), ...(keeps ? {} : { channel: null }) });
}

function zoomBy(factor) {
  const zoom = factor ? Math.min(Math.max(state.zoom * factor, 1), 32) : 1;
  set({ zoom, at: clampAt(state.unit && mainView() && factor > 1 && state.zoom === 1 ? centreOf(state.unit) : state.at, zoom) });
}

const centreOf = ([y, x]) => [(x + 0.5) / mainView().width, (y + 0.5) / mainView().height];

function dark() {
  const now = document.documentElement.dataset.theme;
  return now ? now === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  el("theme").textContent = dark() ? "Light" : "Dark";
  if (tiles.view) {
    tiles.draw();
    drawHistogram();
  }
}

function nextSort() {
  const keys = Array.from(el("sort").options, (each) => each.value);
  set({ sort: keys[(keys.indexOf(state.sort) + 1) % keys.length] });
  el("sort").value = state.sort;
}

function listen() {
  for (const [id, name] of [["sort", "sort"], ["scale", "scale"], ["cmap", "cmap"], ["side", "side"]]) {
    if (!el(id)) continue;
    el(id).value = state[name];
    el(id).addEventListener("change", (event) => set({ [name]: event.target.value }));
  }
  for (const id of ["alpha", "frame"]) {
    el(id).value = state[id];
    el(id).addEventListener("input", (event) => set({ [id]: Number(event.target.value) }));
  }
  if (el("pass")) {
    el("pass").value = String(state.pass);
    el("pass").addEventListener("change", (event) => set({ pass: Number(event.target.value) }));
  }
  el("find").addEventListener("change", (event) => {
    const channel = Math.round(Number(event.target.value));
    const count = mainView().count;
    if (event.target.value !== "" && channel >= 0 && channel < count) set({ channel });
    else event.target.value = state.channel;
  });
  for (const picture of document.querySelectorAll("[data-frame]")) {
    picture.addEventListener("click", () => {
      const frames = framesOf(layerNow());
      set({ frame: Math.floor((Number(picture.dataset.frame) * frames) / passNow().pictures.length) });
      el("frame").value = state.frame;
    });
  }
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", (event) => {
      event.preventDefault();
      goTo(chip.dataset.layer);
    });
  }
  for (const link of document.querySelectorAll(".to-layer")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (!sides) set({ pass: Number(link.dataset.pass) });
      goTo(link.dataset.layer);
      el("viewer").scrollIntoView();
    });
  }
  const pin = () => {
    const view = mainView();
    if (view && view.layer.isMap) togglePin(state.unit || strongest(view));
  };
  const actions = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => stepLayer(-1), ArrowDown: () => stepLayer(1),
    Home: () => step(-Infinity), End: () => step(Infinity), p: pin, s: nextSort,
    m: () => { if (mainView().layer.isMap) set({ unit: strongest(mainView()) }); },
    c: () => { set({ scale: state.scale === "channel" ? "layer" : "channel" }); el("scale").value = state.scale; },
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => zoomBy(0),
    t: () => setTheme(dark() ? "light" : "dark"), "?": () => el("keys").showModal(),
  };
  listenToKeys(actions);
  const click = (id, action) => el(id).addEventListener("click", action);
  click("layer-before", actions.ArrowUp);
  click("layer-after", actions.ArrowDown);
  click("zoom-in", actions["+"]);
  click("zoom-out", actions["-"]);
  click("zoom-fit", actions[0]);
  click("theme", actions.t);
  click("help", actions["?"]);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());
  addEventListener("hashchange", () => {
    set(readHash());
  });
  let resized = 0;
  addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => {
      for (const each of panes) each.size();
      showChannel();
    }, 60);
  });
  const paper = (on) => {
    tiles.whole = on;
    tiles.lay();
  };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
}

function showPass() {
  // With a switcher one image stands at the top at a time; of two that are compared both do.
  if (sides) return;
  for (const each of document.querySelectorAll(".answer")) each.hidden = Number(each.dataset.pass) !== state.pass;
}

async function start() {
  for (const each of document.querySelectorAll("[data-scripted]")) each.hidden = false;
  for (const each of document.querySelectorAll("[data-grow]")) each.style.flexGrow = Math.max(Math.sqrt(Number(each.dataset.grow) || 1), 2 * each.querySelectorAll(".chip").length);
  Object.assign(state, readHash());
  await readPhotos();
  listen();
  setTheme();
  showPass();
  watch((changed) => { if (changed.has("pass")) showPass(); });
  await showLayer();
  document.documentElement.dataset.ready = "";
}

start();
