// What is being looked at. One object; it stands in the URL's hash, so that a link leads to the very unit.

const DEFAULTS = {
  pass: 0, layer: "", channel: null, unit: null, pins: [], sort: "std", scale: "channel", cmap: "auto",
  alpha: 100, side: "0", frame: 0, zoom: 1, at: [0.5, 0.5],
};
const state = { ...DEFAULTS, pins: [] };
const watchers = [];

// Called after a change with the set of names that changed.
function watch(watcher) {
  watchers.push(watcher);
}

function set(changes) {
  const changed = new Set();
  for (const [name, value] of Object.entries(changes)) {
    if (JSON.stringify(state[name]) !== JSON.stringify(value)) {
      state[name] = value;
      changed.add(name);
    }
  }
  if (!changed.size) return;
  writeHash();
  for (const watcher of watchers) watcher(changed);
}

// Two that are compared are shown side by side; of two networks each may have layers that the other has not.
const sides = DATA.compared !== "";
const has = (pass, name) => DATA.passes[pass].layers.some((each) => each.name === name);
const layersNow = () => (sides ? [...DATA.passes[0].layers, ...DATA.passes[1].layers.filter((each) => !has(0, each.name))] : DATA.passes[state.pass].layers);
const layerNow = () => layersNow().find((each) => each.name === state.layer) || layersNow()[0];
// Which of two alone has the layer that is shown: 0, 1, or null.
const alone = () => (!sides || (has(0, layerNow().name) && has(1, layerNow().name)) ? null : has(0, layerNow().name) ? 0 : 1);
const passIndex = () => (sides ? alone() ?? 0 : state.pass);
const passNow = () => DATA.passes[passIndex()];
const labelsNow = () => DATA.labels[Math.min(passIndex(), DATA.labels.length - 1)];

// -- the hash ----------------------------------------------------------------------------------------------------

const places = (text) => text.split(";").filter(Boolean).map((each) => each.split(",").map(Number));

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const names = new Set(DATA.passes.flatMap((pass) => pass.layers.map((layer) => layer.name)));
  const found = { ...DEFAULTS, pins: [], layer: startLayer() };
  const whole = (name, most) => {
    const value = Number(given.get(name));
    return given.has(name) && Number.isInteger(value) && value >= 0 && value < most ? value : null;
  };
  found.pass = whole("image", DATA.passes.length) ?? 0;
  if (names.has(given.get("layer"))) found.layer = given.get("layer");
  const among = sides ? DATA.passes : [DATA.passes[found.pass]];
  const layer = among.flatMap((pass) => pass.layers).find((each) => each.name === found.layer);
  if (layer) {
    const [frames, height, width] = layer.cells;
    const inside = ([y, x]) => y >= 0 && x >= 0 && y < height && x < width && Number.isInteger(y) && Number.isInteger(x);
    found.channel = whole("channel", layer.count);
    found.frame = whole("frame", Math.max(frames, among[0].clip ? among[0].pictures.length : 1)) ?? 0;
    found.unit = places(given.get("unit") || "").filter(inside)[0] || null;
    found.pins = places(given.get("pins") || "").filter(inside).slice(0, 12);
  }
  for (const [name, allowed] of [["sort", SORTS.map(([key]) => key)], ["scale", ["channel", "layer"]],
    ["cmap", ["auto", ...Object.keys(DATA.palettes)]], ["side", ["0", "1", "diff"]]]) {
    if (allowed.includes(given.get(name))) found[name] = given.get(name);
  }
  const alpha = whole("alpha", 101);
  if (alpha !== null) found.alpha = alpha;
  return found;
}

function writeHash() {
  const parts = new URLSearchParams();
  if (state.pass) parts.set("image", state.pass);
  parts.set("layer", state.layer);
  if (state.channel !== null) parts.set("channel", state.channel);
  if (state.unit) parts.set("unit", state.unit.join(","));
  if (state.pins.length) parts.set("pins", state.pins.map((each) => each.join(",")).join(";"));
  for (const name of ["sort", "scale", "cmap", "alpha", "side", "frame"]) {
    if (state[name] !== DEFAULTS[name]) parts.set(name, state[name]);
  }
  const text = parts.toString().replaceAll("%2C", ",").replaceAll("%3B", ";");
  try {
    history.replaceState(null, "", `#${text}`);
  } catch {
    // A notebook's frame has no address of its own: there the state is not kept.
  }
}

// What is shown first: the last stage's map that still has places to look at, and not a pre-activation.
function startLayer() {
  const layers = DATA.passes[0].layers;
  const read = new Set(layers.map((each) => each.before));
  const maps = layers.filter((each) => each.isMap && !read.has(each.name));
  const fine = maps.filter((each) => Math.min(each.cells[1], each.cells[2]) >= 20);
  return (fine.at(-1) || maps.at(-1) || layers.at(-1)).name;
}

const SORTS = [
  ["std", "standard deviation"], ["max", "maximum"], ["mean", "mean"], ["zeros", "share of zeros"],
  ["index", "index"], ["effect", "effect on the answer"], ["selectivity", "selectivity"],
  ["fires", "how often it fires"],
];
// Whether a layer has the numbers of a sort.
const sorts = (layer, key) => (key === "effect" ? layer.effect : key === "selectivity" || key === "fires" ? Boolean(layer.dossiers) : true);
