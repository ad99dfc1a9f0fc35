// The progress page: asks for the runs every two seconds and draws their measures.
const INTERVAL = 2000; // milliseconds
const COUNTERS = new Set(["epoch", "done", "total"]);
const $ = (id) => document.getElementById(id);

$("command").textContent = `python train_model.py … --serverlog ${location.origin}`;
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, INTERVAL);

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
  const caption = element("figcaption");
  const series = [[name, ""], ...(validation ? [[validation, "validation"]] : [])];
  const values = series.map(([key]) => run.points.map((point) => measure(point, key)));
  const finite = values.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  picture.setAttribute("viewBox", "0 0 100 100");
  picture.setAttribute("preserveAspectRatio", "none");
  series.forEach(([key, kind], index) => {
    const label = element("span", kind, `${key} `);
    label.append(element("b", "", number(values[index].findLast((value) => value !== null))));
    caption.append(label);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.setAttribute("class", kind);
    const width = Math.max(values[index].length - 1, 1);
    const points = values[index].flatMap((value, i) =>
      value === null ? [] : [`${(100 * i) / width},${96 - (92 * (value - low)) / (high - low || 1)}`]);
    line.setAttribute("points", (points.length === 1 ? [points[0], points[0].replace(/^0,/, "100,")] : points).join(" "));
    picture.append(line);
  });
  const plot = element("div", "plot");
  plot.append(picture);
  if (high > low) plot.append(element("small", "high", number(high)), element("small", "low", number(low)));
  figure.append(caption, plot);
  return figure;
}

// A measure may have the name of something that every object has, such as "constructor".
function measure(point, name) {
  return Object.hasOwn(point, name) ? point[name] : null;
}

function number(value) {
  return value === undefined ? "not finite" : String(Number(value.toPrecision(3)));
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}
