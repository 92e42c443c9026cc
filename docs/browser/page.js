// Describes places with the encoder in content.onnx; nothing leaves the machine of the visitor.
const AT_ONCE = 256; // places of the sample that are encoded before the page may answer a click
const SHOWN = 8;
const NEAR = 5; // degrees within which a place resembles itself

const facts = await (await fetch("facts.json")).json();
const canvas = document.getElementById("map");
const button = document.querySelector("#place button");
let session, ort, sample;

function say(text, failed = false) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.classList.toggle("failed", failed);
}

async function openEncoder() {
  ort = await import(new URL(`${facts.runtime}ort.wasm.min.mjs`, location.href));
  ort.env.wasm.wasmPaths = new URL(facts.runtime, location.href).href;
  ort.env.wasm.numThreads = 1; // more need headers that a static page cannot send
  session = await ort.InferenceSession.create("content.onnx");
}

// Encodes a flat list of longitudes and latitudes, row after row.
async function encode(lonlat) {
  const degrees = Float64Array.from(lonlat);
  const input = new ort.Tensor("float64", degrees, [degrees.length / 2, 2]);
  return (await session.run({ lonlat: input })).features.data;
}

function inRows(values) {
  const width = facts.columns.length;
  return Array.from({ length: values.length / width }, (_, row) =>
    values.subarray(row * width, (row + 1) * width));
}

async function encodeSample() {
  const rows = [];
  for (let first = 0; first < facts.places.length; first += AT_ONCE) {
    rows.push(...inRows(await encode(facts.places.slice(first, first + AT_ONCE).flat())));
    await new Promise((done) => setTimeout(done)); // a click comes first
  }
  const mean = facts.columns.map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
  const deviation = mean.map((centre, i) =>
    Math.sqrt(rows.reduce((sum, row) => sum + (row[i] - centre) ** 2, 0) / rows.length) || 1);
  const unit = (row) => {
    const scaled = mean.map((centre, i) => (row[i] - centre) / deviation[i]);
    const length = Math.hypot(...scaled) || 1;
    return scaled.map((value) => value / length);
  };
  sample = { unit, rows: rows.map(unit) };
}

function mostSimilar(lon, lat, features) {
  const here = sample.unit(features);
  const near = ([x, y]) => {
    const east = Math.abs(x - lon) % 360;
    return Math.hypot(Math.min(east, 360 - east) * Math.cos(lat * Math.PI / 180), y - lat) < NEAR;
  };
  return facts.places
    .map((place, row) => ({ place, similarity: sample.rows[row].reduce((sum, x, i) => sum + x * here[i], 0) }))
    .filter(({ place }) => !near(place))
    .sort((one, other) => other.similarity - one.similarity)
    .slice(0, SHOWN);
}

function named(lon, lat) {
  const east = ((lon + 180) % 360 + 360) % 360 - 180;
  return `${Math.abs(lat).toFixed(2)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(east).toFixed(2)}° ${east < 0 ? "W" : "E"}`;
}

function element(tag, text, attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.textContent = text;
  return made;
}

function showFeatures(features) {
  const body = document.querySelector("#features tbody");
  body.replaceChildren(...facts.columns.map(({ name, unit }, i) => {
    const row = document.createElement("tr");
    const value = element("td", Number(features[i].toPrecision(4)));
    value.dataset.value = features[i];
    row.append(element("th", name), value, element("td", unit, { className: "unit" }));
    return row;
  }));
}

function draw(marks) {
  const pen = canvas.getContext("2d");
  const x = (lon) => (lon + 180) / 360 * canvas.width, y = (lat) => (90 - lat) / 180 * canvas.height;
  pen.fillStyle = "#eef4f8";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = "#456";
  pen.beginPath();
  for (const line of facts.coast) {
    for (let i = 0; i < line.length; i += 2) {
      pen[i ? "lineTo" : "moveTo"](x(line[i]), y(line[i + 1]));
    }
  }
  pen.stroke();
  marks.forEach(([lon, lat], number) => {
    pen.fillStyle = number ? "#d06000" : "#c00030";
    pen.beginPath();
    pen.arc(x((lon + 180) % 360 - 180), y(lat), number ? 5 : 8, 0, 2 * Math.PI);
    pen.fill();
  });
}

async function describe(lon, lat) {
  document.getElementById("lon").value = lon;
  document.getElementById("lat").value = lat;
  const [features] = inRows(await encode([lon, lat]));
  showFeatures(features);
  const found = sample ? mostSimilar(lon, lat, features) : [];
  document.getElementById("similar").replaceChildren(...found.map(({ place, similarity }) =>
    element("li", `${named(...place)} (${similarity.toFixed(3)})`)));
  draw([[lon, lat], ...found.map(({ place }) => place)]);
  say(`${named(lon, lat)}${sample ? "" : ", before other places are compared"}`);
  document.body.dataset.place = `${lon} ${lat}`;
}

// onnxruntime runs one batch at a time
let waiting = Promise.resolve();
function ask(lon, lat) {
  waiting = waiting.then(() => describe(lon, lat)).catch((error) => say(String(error), true));
}

canvas.addEventListener("click", (event) => {
  if (button.disabled) return;
  const box = canvas.getBoundingClientRect();
  const share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  ask(Number((share[0] * 360 - 180).toFixed(2)), Number((90 - share[1] * 180).toFixed(2)));
});
document.getElementById("place").addEventListener("submit", (event) => {
  event.preventDefault();
  ask(Number(document.getElementById("lon").value), Number(document.getElementById("lat").value));
});

draw([]);
try {
  await openEncoder();
  say(`Comparing ${facts.places.length} places on land …`);
  await encodeSample();
  button.disabled = false;
  say("Click on the map, or type degrees.");
  document.body.dataset.ready = "";
} catch (error) {
  say(`The encoder cannot run here. Its runtime, onnxruntime-web, was looked for in ${facts.runtime}: ${error}`, true);
}
