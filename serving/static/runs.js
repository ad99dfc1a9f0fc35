// The progress page: asks for the runs every two seconds and draws their measures.
const INTERVAL = 2000; // milliseconds
const COUNTERS = new Set(["epoch", "done", "total"]);
const UNITS = { nme: "%", images_per_second: "images/s", waiting: "of the time", seconds: "s", mae: "", loss: "" };
const STEPS = { training: "epoch", evaluation: "image" }; // what the x axis counts
const TICKS = 4;
const $ = (id) => document.getElementById(id);

$("command").textContent = `python train_model.py … --serverlog ${location.origin}`;
refresh();
setInterval(() => { if (!document.hidden && !document.querySelector(".plot:hover")) refresh(); }, INTERVAL);

async function refresh() {
  try {
    const { runs } = await (await fetch("v1/runs")).json();
    $("runs").replaceChildren(...runs.map(card));
    $("empty").hidden = runs.length > 0;
    $("message").hidden = true;
  } catch {
    $("message").textContent = "The server does not answer. The page tries again every two seconds.";
    $("message").hidden = false;
  }
}

function card(run) {
  const article = element("article", "run");
  const top = element("div", "top");
  top.append(element("h2", "", run.name), element("p", "state", state(run)));
  article.append(top);
  if (run.total) {
    const bar = element("progress");
    bar.max = run.total;
    bar.value = run.done ?? 0;
    article.append(bar);
  }
  const charts = element("div", "charts");
  const names = [...new Set(run.points.flatMap(Object.keys))].filter((name) => !COUNTERS.has(name));
  for (const name of names.filter((name) => !name.startsWith("val_") || !names.includes(name.slice(4)))) {
    charts.append(chart(run, name, names.includes(`val_${name}`) ? `val_${name}` : null));
  }
  article.append(charts);
  return article;
}

function state(run) {
  const parts = [run.stage];
  if (run.done !== null) parts.push(run.total ? `${run.done} of ${run.total}` : `${run.done} done`);
  const seconds = Date.now() / 1000 - run.updated;
  parts.push(seconds < 60 ? "just now" : seconds < 3600 ? `${Math.round(seconds / 60)} min ago` : new Date(run.updated * 1000).toLocaleString());
  return parts.join(" · ");
}

function chart(run, name, validation) {
  const figure = element("figure", "chart");
  const series = [[name, ""], ...(validation ? [[validation, "validation"]] : [])];
  const steps = run.points.map(stepOf);
  const values = series.map(([key]) => run.points.map((point) => measure(point, key)));
  const finite = values.flat().filter((value) => value !== null);
  const [xTicks, yTicks] = [ticks(Math.min(...steps), Math.max(...steps), true), ticks(Math.min(...finite), Math.max(...finite))];
  const x = place(Math.min(...steps), Math.max(...steps)), y = place(yTicks[0], yTicks.at(-1));

  const caption = element("figcaption");
  const readings = series.map(([key, kind], index) => {
    const label = element("span", kind, `${key} `), value = element("b", "", reading(key, values[index].findLast((each) => each !== null)));
    label.append(value);
    caption.append(label);
    return value;
  });
  const where = element("small", "where");
  caption.append(where);

  const picture = svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const tick of yTicks) picture.append(svg("line", { class: "grid", x1: 0, x2: 100, y1: 100 - y(tick), y2: 100 - y(tick) }));
  series.forEach(([, kind], index) => {
    const points = values[index].flatMap((value, i) => (value === null ? [] : [`${x(steps[i])},${100 - y(value)}`]));
    picture.append(svg("polyline", { class: kind, points: (points.length === 1 ? [points[0].replace(/^[^,]*/, "0"), points[0].replace(/^[^,]*/, "100")] : points).join(" ") }));
  });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: 100, visibility: "hidden" });
  picture.append(cursor);

  const plot = element("div", "plot");
  plot.append(picture);
  for (const tick of yTicks) plot.append(placed(element("small", "y", String(tick)), "bottom", y(tick)));
  for (const tick of xTicks) plot.append(placed(element("small", "x", String(tick)), "left", x(tick)));
  const show = (index) => {
    cursor.setAttribute("visibility", index === null ? "hidden" : "visible");
    if (index !== null) for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(steps[index]));
    where.textContent = index === null ? "" : `${STEPS[run.stage] ?? "step"} ${number(steps[index])}`;
    series.forEach(([key], n) => {
      readings[n].textContent = reading(key, index === null ? values[n].findLast((each) => each !== null) : values[n][index]);
    });
  };
  plot.addEventListener("pointermove", (event) => {
    const { left, width } = picture.getBoundingClientRect();
    const at = (100 * (event.clientX - left)) / width;
    show(steps.reduce((best, step, i) => (Math.abs(x(step) - at) < Math.abs(x(steps[best]) - at) ? i : best), 0));
  });
  plot.addEventListener("pointerleave", () => show(null));
  figure.append(caption, plot, element("small", "axis", `${STEPS[run.stage] ?? "step"}s`));
  return figure;
}

// What a point is of: the epochs or images that were done then, else its place.
function stepOf(point, index) {
  return measure(point, "done") ?? (measure(point, "epoch") === null ? index + 1 : measure(point, "epoch") + 1);
}

// Round numbers from at most `low` to at least `high`; within them if `inside`.
function ticks(low, high, inside = false) {
  if (!Number.isFinite(low)) return [0, 1];
  const span = high - low || Math.abs(high) || 1;
  const rough = span / TICKS, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough && (!inside || each >= 1)) ?? 1;
  if (!(step > 0 && Number.isFinite(step))) return [low, high];  // too near to one another, or too far
  const [first, last] = inside ? [Math.ceil(low / step), Math.floor(high / step)] : [Math.floor(low / step), Math.ceil(high / step)];
  const count = Math.max(last - first, inside ? 0 : 1);
  const found = Array.from({ length: count + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12))).filter(Number.isFinite);
  return inside && !found.length ? [low, high] : found;
}

// Where a number lies between two others, in per cent. A hundredth each, since their difference may be no number.
function place(low, high) {
  const span = high / 100 - low / 100;
  return (value) => (span > 0 ? (value / 100 - low / 100) / span * 100 : 50);
}

function placed(label, side, share) {
  label.style[side] = `${share}%`;
  return label;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function reading(name, value) {
  const plain = name.replace(/^(val|test)_/, "");
  const unit = Object.hasOwn(UNITS, plain) ? UNITS[plain] : "";
  return value === undefined || value === null || !unit ? number(value) : `${number(value)} ${unit}`;
}

// A measure may have the name of something that every object has, such as "constructor".
function measure(point, name) {
  return Object.hasOwn(point, name) ? point[name] : null;
}

function number(value) {
  return value === undefined || value === null ? "not finite" : String(Number(value.toPrecision(3)));
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
