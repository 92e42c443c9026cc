"use strict";
// An encoder: its components as colours, and how similar every place is to the one that is touched.
const { columns, rows } = content;

const cellsOf = () => model("similarity").data_source.data.cells[0]; // those that have features

function drawSimilar(chosen) {
  const source = model("similarity").data_source;
  const cells = cellsOf();
  const features = source.data.features[0];
  const similarity = source.data.image[0];
  const width = features.length / cells.length, start = chosen * width;
  for (let i = 0; i < cells.length; i++) {
    let sum = 0;
    for (let k = 0; k < width; k++) sum += features[start + k] * features[i * width + k];
    similarity[cells[i]] = sum / content.steps ** 2;
  }
  similarity[cells[chosen]] = 1;
  page.similarity = similarity;
  source.change.emit();
}

function cellOf(index) { return { row: Math.floor(index / columns), column: index % columns }; }

function kilometres(a, b) {
  const radians = Math.PI / 180;
  const [x0, y0, x1, y1] = [...a, ...b].map((value) => value * radians);
  const chord = Math.sin((y1 - y0) / 2) ** 2 + Math.cos(y0) * Math.cos(y1) * Math.sin((x1 - x0) / 2) ** 2;
  return 2 * content.earth_radius * Math.asin(Math.sqrt(Math.min(1, chord)));
}

// The most similar places, none near the chosen one or near another of them.
function mostSimilar(chosen) {
  const cells = Array.from(cellsOf());
  cells.sort((a, b) => page.similarity[b] - page.similarity[a]);
  const own = centreOf(cellOf(chosen), rows, columns);
  const found = [];
  for (const cell of cells) {
    const place = centreOf(cellOf(cell), rows, columns);
    if ([own, ...found.map((one) => one.place)].every((other) => kilometres(place, other) > content.apart)) {
      found.push({ place, similarity: page.similarity[cell] });
      if (found.length === content.n_similar) break;
    }
  }
  return found;
}

function choosePlace(event) {
  const at = cellAt(event.x, event.y, rows, columns);
  const cell = at ? at.row * columns + at.column : -1;
  const chosen = cellsOf().indexOf(cell);
  if (chosen < 0) {
    byId("chosen").textContent = content.land_only ? "Touch a place on land." : "Touch a place on the map.";
    return;
  }
  drawSimilar(chosen);
  const own = centreOf(at, rows, columns);
  const similar = mostSimilar(cell);
  byId("chosen").textContent = `Compared with ${degreesText(...own, content.digits)}. Farther away are:`;
  byId("places").replaceChildren(...similar.map(({ place, similarity }, number) => {
    const item = element("li");
    item.append(element("span", `${number + 1}. ${degreesText(...place, content.digits)}`),
      element("span", similarity.toFixed(2)));
    return item;
  }));
  model("star").data_source.data = { x: [own[0]], y: [own[1]] };
  model("numbers").data_source.data = {
    x: similar.map((one) => one.place[0]), y: similar.map((one) => one.place[1]),
    text: similar.map((_, number) => String(number + 1)),
  };
  byId("band").value = "similarity";
  showLayer();
  readSimilarity(event);
}

function showLayer() {
  const similar = byId("band").value === "similarity" && page.similarity;
  for (const name of ["similarity", "star", "rings", "numbers"]) model(name).visible = Boolean(similar);
  model("components").visible = !similar;
  byId("scale").hidden = !similar;
  byId("legend-title").textContent = similar ? "Cosine similarity of the features" : "Colours";
  byId("explained").hidden = Boolean(similar);
}

function readSimilarity(event) {
  const at = cellAt(event.x, event.y, rows, columns);
  const value = at && page.similarity ? page.similarity[at.row * columns + at.column] : NaN;
  const place = at ? degreesText(...centreOf(at, rows, columns), content.digits) : "";
  byId("values").textContent = Number.isNaN(value) ? place : `${place}: ${value.toFixed(2)}`;
}

openPlot().then(() => {
  const select = byId("band");
  option(select, "components", "Components as colours");
  option(select, "similarity", "Similarity to a place");
  select.addEventListener("change", () => {
    if (select.value === "similarity" && !page.similarity) byId("chosen").textContent = "Touch a place first.";
    showLayer();
  });
  drawBar(content.palette, content.low, 1);
  for (const event of ["tap", "doubletap"]) page.plot.on_event(event, choosePlace);
  page.plot.on_event("mousemove", readSimilarity);
  showLayer();
  document.body.dataset.ready = "yes";
});
