"use strict";
// A map of predictions: choice of a band, legend, values under the pointer, labels.
const bands = content.bands;
let shown = 0;

function valueOf(band, at) {
  const value = model("cells").data[String(band)][0][at.row * content.columns + at.column];
  if (bands[band].classes) return value < bands[band].classes.length ? value : null;
  return Number.isNaN(value) ? null : value;
}

function textOf(band, value) {
  if (value === null) return "no value";
  if (bands[band].classes) return bands[band].classes[value];
  return bands[band].unit ? `${shortNumber(value)}\u00a0${bands[band].unit}` : shortNumber(value);
}

function choose(number) {
  shown = number;
  const band = bands[number];
  const mapper = model("colours");
  mapper.setv({ palette: band.palette, low: band.low, high: band.high,
    high_color: band.classes ? "rgba(0,0,0,0)" : null });
  model("image").glyph.image = { field: String(number) };
  const points = model("labels");
  if (points) {
    const own = band.labelled;
    points.glyph.fill_color = own ? { field: String(number), transform: mapper } : { value: "#ffffff" };
  }
  const veil = model("veil");
  if (veil) veil.visible = byId("veil").checked && !band.verdict;
  drawLegend(band);
  drawReadout();
}

function drawLegend(band) {
  byId("legend-title").textContent = band.unit ? `${band.label}, ${band.unit}` : band.label;
  byId("scale").hidden = Boolean(band.classes);
  const list = byId("classes");
  list.hidden = !band.classes;
  if (band.classes) {
    list.replaceChildren(...band.classes.map((name, number) => {
      const item = element("li"), swatch = element("span", "", "swatch");
      swatch.style.background = band.palette[number];
      item.append(swatch, element("span", name));
      return item;
    }));
  } else {
    drawBar(band.palette, band.low, band.high);
    byId("ends").hidden = !band.clipped;
  }
}

// Longitude and latitude of a point of the map: read between the nodes of a table.
function degreesAt(x, y) {
  const { west, south, east, north } = content.frame;
  if (!content.nodes) return [x, y];
  const last = content.nodes.length - 1;
  const u = (x - west) / (east - west) * last, v = (north - y) / (north - south) * last;
  const i = Math.min(Math.floor(v), last - 1), j = Math.min(Math.floor(u), last - 1);
  const mixed = [0, 1].map((k) => {
    const [a, b, c, d] = [[i, j], [i, j + 1], [i + 1, j], [i + 1, j + 1]].map(([r, s]) => content.nodes[r][s][k]);
    if ([a, b, c, d].includes(null)) return NaN;
    return (a * (j + 1 - u) + b * (u - j)) * (i + 1 - v) + (c * (j + 1 - u) + d * (u - j)) * (v - i);
  });
  return mixed;
}

function placeText(at) {
  const [x, y] = centreOf(at, content.rows, content.columns);
  const [lon, lat] = degreesAt(x, y);
  const degrees = Number.isFinite(lon) ? degreesText(lon, lat, content.degree_digits) : "";
  if (!content.nodes) return degrees;
  return `${x.toFixed(content.digits)} km E, ${y.toFixed(content.digits)} km N ${degrees ? `(${degrees})` : ""}`;
}

function nearestLabel(x, y) {
  const source = model("points");
  if (!source) return null;
  const { x_range, y_range, inner_width, inner_height } = page.plot;
  const across = (x_range.end - x_range.start) / inner_width, along = (y_range.end - y_range.start) / inner_height;
  let best = null, least = 10 ** 2; // pixels
  const { x: xs, y: ys } = source.data;
  for (let i = 0; i < xs.length; i++) {
    const distance = ((xs[i] - x) / across) ** 2 + ((ys[i] - y) / along) ** 2;
    if (distance <= least) [best, least] = [i, distance];
  }
  return best;
}

function drawReadout() {
  const box = byId("values");
  const at = page.cell;
  if (!at) {
    box.replaceChildren(element("p", "Point at the map, or touch it.", "small"));
    return;
  }
  const rows = [];
  const add = (name, text, className) => {
    const row = element("tr", undefined, className);
    row.append(element("th", name), element("td", text));
    rows.push(row);
  };
  let verdict = null;
  bands.forEach((band, number) => {
    const value = valueOf(number, at);
    if (band.verdict) verdict = value;
    else add(band.label, textOf(number, value), number === shown ? "shown" : "");
  });
  if (page.label !== null) {
    const texts = content.labels.texts[page.label];
    texts.forEach((text, k) => add(content.labels.names[k], text, "label"));
  }
  const table = element("table");
  table.append(...rows);
  const parts = [element("p", placeText(at), "small place"), table];
  if (verdict === 0) {
    parts.push(element("p", "Outside the area of applicability: the model has seen nothing like this "
      + "place, so do not rely on its prediction here.", "warning"));
  } else if (verdict === 1) {
    parts.push(element("p", "Inside the area of applicability.", "small"));
  }
  box.replaceChildren(...parts);
}

function point(event) {
  page.cell = cellAt(event.x, event.y, content.rows, content.columns);
  page.label = page.cell ? nearestLabel(event.x, event.y) : null;
  drawReadout();
}

openPlot().then(() => {
  const select = byId("band");
  bands.forEach((band, number) => option(select, number, band.label));
  select.addEventListener("change", () => choose(Number(select.value)));
  byId("veil-line").hidden = !model("veil");
  byId("veil").addEventListener("change", () => choose(shown));
  const points = model("labels");
  byId("points-line").hidden = !points;
  byId("points").addEventListener("change", () => {
    for (const name of ["halo", "labels"]) model(name).visible = byId("points").checked;
  });
  for (const event of ["mousemove", "tap", "doubletap"]) page.plot.on_event(event, point);
  choose(0);
  document.body.dataset.ready = "yes";
});
