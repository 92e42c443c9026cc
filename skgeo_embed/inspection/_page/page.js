"use strict";
// What all pages share. Whatever a user wrote comes from the JSON element, and becomes text only.
const content = JSON.parse(document.getElementById("content").textContent);
const page = { content, cell: null };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function option(select, value, text) {
  const made = element("option", text);
  made.value = value;
  select.append(made);
}

function byId(id) { return document.getElementById(id); }

function model(name) { return page.document.get_model_by_name(name); }

function shortNumber(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-4)) return value.toExponential(4);
  return String(Number(value.toPrecision(5)));
}

function degreesText(lon, lat, digits) {
  const turned = ((((lon + 180) % 360) + 360) % 360) - 180;
  const one = (value, negative, positive) => {
    const rounded = Number(Math.abs(value).toFixed(digits));
    return `${rounded}° ${rounded === 0 ? "" : value < 0 ? negative : positive}`.trim();
  };
  return `${one(lat, "S", "N")}, ${one(turned, "W", "E")}`;
}

// Show the whole map, with the scale that is true in its middle.
function showAll() {
  const { west, south, east, north, stretch } = content.frame;
  const { inner_width: width, inner_height: height } = page.plot;
  if (!(width > 0 && height > 0)) return;
  const unit = Math.max((east - west) / stretch / width, (north - south) / height);
  spread((west + east) / 2, (south + north) / 2, unit * stretch * width, unit * height);
}

function spread(x, y, width, height) {
  page.plot.x_range.setv({ start: x - width / 2, end: x + width / 2 });
  page.plot.y_range.setv({ start: y - height / 2, end: y + height / 2 });
}

// Make both axes so many times as long, about their middle.
function lengthen(across, along) {
  const { x_range: x, y_range: y } = page.plot;
  spread((x.start + x.end) / 2, (y.start + y.end) / 2, (x.end - x.start) * across, (y.end - y.start) * along);
}

// The row and column of a grid that fills the map, at a point of the map; null outside it.
function cellAt(x, y, rows, columns) {
  const { west, south, east, north } = content.frame;
  const column = Math.floor((x - west) / (east - west) * columns);
  const row = Math.floor((north - y) / (north - south) * rows);
  return row >= 0 && row < rows && column >= 0 && column < columns ? { row, column } : null;
}

function centreOf({ row, column }, rows, columns) {
  const { west, south, east, north } = content.frame;
  return [west + (column + 0.5) * (east - west) / columns, north - (row + 0.5) * (north - south) / rows];
}

async function openPlot() {
  const { west, south, east, north, stretch } = content.frame;
  byId("plot").style.aspectRatio = Math.min(Math.max((east - west) / stretch / (north - south), 0.7), 3);
  await Bokeh.embed.embed_item(content.plot, "plot");
  page.document = Bokeh.documents[0];
  page.plot = model("map");
  for (const note of content.notes) byId("notes").append(element("p", note));
  byId("in").addEventListener("click", () => lengthen(0.5, 0.5));
  byId("out").addEventListener("click", () => lengthen(2, 2));
  byId("whole").addEventListener("click", showAll);
  showAll();
  let size = [page.plot.inner_width, page.plot.inner_height];
  for (const side of ["inner_width", "inner_height"]) {
    page.plot.properties[side].change.connect(() => {
      keepScale(size);
      size = [page.plot.inner_width, page.plot.inner_height];
    });
  }
}

// The frame has another size, of the window or of the labels of the axes: the scale stays.
function keepScale([width, height]) {
  const { inner_width, inner_height } = page.plot;
  if (Math.min(width, height, inner_width, inner_height) > 0) lengthen(inner_width / width, inner_height / height);
  else showAll();
}

function gradient(palette) { return `linear-gradient(to right, ${palette.join(",")})`; }

function drawBar(palette, low, high) {
  byId("bar").style.background = gradient(palette);
  byId("ticks").replaceChildren(
    ...[low, (low + high) / 2, high].map((value) => element("span", String(Number(value.toPrecision(3))))));
}
