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
    const rounded = Math.abs(value).toFixed(digits);
    return `${rounded}° ${Number(rounded) === 0 ? "" : value < 0 ? negative : positive}`.trim();
  };
  return `${one(lat, "S", "N")}, ${one(turned, "W", "E")}`;
}

// Show the box of the map's units whole, with the scale that is true in its middle.
function show(west, south, east, north) {
  const plot = page.plot, stretch = content.frame.stretch;
  const width = plot.inner_width, height = plot.inner_height;
  if (!(width > 0 && height > 0)) return;
  const unit = Math.max((east - west) / stretch / width, (north - south) / height);
  const x = (west + east) / 2, y = (south + north) / 2;
  const dx = unit * stretch * width / 2, dy = unit * height / 2;
  plot.x_range.setv({ start: x - dx, end: x + dx });
  plot.y_range.setv({ start: y - dy, end: y + dy });
}

function showAll() {
  const { west, south, east, north } = content.frame;
  show(west, south, east, north);
}

function zoom(factor) {
  const { x_range: x, y_range: y } = page.plot;
  const across = (x.end - x.start) / factor / 2, along = (y.end - y.start) / factor / 2;
  const column = (x.start + x.end) / 2, row = (y.start + y.end) / 2;
  x.setv({ start: column - across, end: column + across });
  y.setv({ start: row - along, end: row + along });
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
  byId("in").addEventListener("click", () => zoom(2));
  byId("out").addEventListener("click", () => zoom(0.5));
  byId("whole").addEventListener("click", showAll);
  showAll();
  for (const side of ["inner_width", "inner_height"]) {
    page.plot.properties[side].change.connect(() => {
      const { x_range: x, y_range: y } = page.plot;
      show(x.start, y.start, x.end, y.end);
    });
  }
}

function gradient(palette) { return `linear-gradient(to right, ${palette.join(",")})`; }

function drawBar(palette, low, high) {
  byId("bar").style.background = gradient(palette);
  byId("ticks").replaceChildren(
    ...[low, (low + high) / 2, high].map((value) => element("span", String(Number(value.toPrecision(3))))));
}
