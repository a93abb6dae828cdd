// What excites a channel: the dossier that `fmap top` saved of it.

const dossiersRead = new Map();

// The dossiers of a layer by channel, and its pictures, decoded when the layer is first opened.
function dossiersOf(layer) {
  if (!dossiersRead.has(layer.dossiers)) dossiersRead.set(layer.dossiers, readDossiers(layer.dossiers));
  return dossiersRead.get(layer.dossiers);
}

async function readDossiers(id) {
  const { content } = await payload(id);
  const length = new DataView(content.buffer).getUint32(0, true);
  const { shapes, rows } = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
  let start = 4 + length;
  const pictures = shapes.map(([height, width]) => {
    const picture = { height, width, start };
    start += 3 * height * width;
    return picture;
  });
  return { content, pictures, rows: new Map(rows.map((row) => [row.channel, row])) };
}

// A picture; where it is the whole one, a frame marks the unit: top, left, height and width as shares of its sides.
function patchCanvas({ content, pictures }, at, alt, frame) {
  const { height, width, start } = pictures[at];
  const canvas = make("canvas", { width, height, role: "img", "aria-label": alt });
  const image = new ImageData(width, height);
  for (let n = 0; n < height * width; n++) {
    for (let band = 0; band < 3; band++) image.data[4 * n + band] = content[start + 3 * n + band];
    image.data[4 * n + 3] = 255;
  }
  const pen = canvas.getContext("2d");
  pen.putImageData(image, 0, 0);
  if (frame) {
    const [[top, high], [left, wide]] = [[frame[0], frame[2], height], [frame[1], frame[3], width]].map(([first, share, length]) => {
      const side = Math.max(length * share, 6);
      return [Math.min(Math.max((first + share / 2) * length - side / 2, 0), length - side), side];
    });
    for (const [colour, line] of [["#000", 3], ["#fff", 1]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.strokeRect(left, top, wide, high);
    }
  }
  return canvas;
}

async function sayDossier() {
  const layer = layerNow();
  const channel = state.channel;
  el("exciting").hidden = !layer.dossiers;
  if (!layer.dossiers) return;
  const all = await dossiersOf(layer);
  if (layer !== layerNow() || channel !== state.channel) return; // another one was asked for meanwhile
  const row = all.rows.get(channel);
  if (!row) {
    el("exciting-words").textContent = "There is no dossier of this channel.";
    el("exciting-units").replaceChildren();
    return;
  }
  const parts = [row.fires === null ? "It has no value that is a number"
    : row.fires === 0 ? `It never fires: its largest value over ${counted(row.images, "image")} is ${number(row.max)}`
      : `It fires in ${percent(row.fires)} of ${counted(row.images, "image")}`];
  if (row.selectivity !== null) parts.push(`selectivity ${number(row.selectivity, 3)}`);
  if (row.classes.length) parts.push(`answers most to ${row.classes.map(([name, mean]) => `${name} (${number(mean, 3)})`).join(", ")}`);
  const framed = row.fires !== 0 && row.units.some(([, , , , , , frame]) => frame);
  const words = framed ? " Where a unit's field is as large as the picture, the whole picture is shown, and a frame marks the unit." : "";
  el("exciting-words").textContent = `${parts.join("; ")}.${words}`;
  const groups = [["strongest", "Strongest"], ["quantile", "At quantiles of its maxima"], ["weakest", "Weakest"]].map(([kind, title]) => {
    // What does not excite it is none of its strongest, however few images there are.
    const found = row.units.filter((unit) => unit[0] === kind && row.fires !== 0 && (kind !== "strongest" || unit[2] > 0));
    if (!found.length) return "";
    const items = found.map(([, rank, value, image, [, y, x], at, frame]) => {
      const what = kind === "quantile" ? `${Math.round(100 * rank)} %: ` : "";
      const alt = `${title}, ${what || `${rank}: `}${number(value)}${image && ` in ${image}`} at row ${y}, column ${x}`;
      const under = make("figcaption", {}, make("b", { text: `${what}${number(value)}` }), make("span", { text: image }));
      return make("li", { title: alt }, make("figure", {}, ...(at < 0 ? [] : [patchCanvas(all, at, alt, frame)]), under));
    });
    return make("div", {}, make("h4", { text: title }), make("ul", {}, ...items));
  });
  el("exciting-units").replaceChildren(...groups);
}
