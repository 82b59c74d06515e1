// What is shown of the chosen items, each a variant with its runs or one of these: { id, variant, runs, single, name, colour }.
// All data is in #data, and every text of it is set as text, never as HTML, except the mistakes, which are already escaped.
const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const OPTIONS = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };
const MOST_MATRICES = 4;
const MOST_CLASSES = 50;
const LONGEST_LABEL = 40;
const ELSEWHERE = "None of the selected records has this.";
const $ = (id) => document.getElementById(id);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const deviation = (values) => {
  const middle = mean(values);
  return values.length < 2 ? 0 : Math.sqrt(values.reduce((a, b) => a + (b - middle) ** 2, 0) / (values.length - 1));
};

function element(tag, text, parent, more = {}) {
  const made = Object.assign(document.createElement(tag), { textContent: text, ...more });
  parent?.append(made);
  return made;
}

// As Plotly shows it: without markup, which it would take `<` for, and cut where it is long.
const label = (text) => {
  const short = text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL)}…` : text;
  return short.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
};
const classAxis = (classes) => ({ type: "category", tickvals: classes, ticktext: classes.map(label) });

const waiting = new Map(); // place of a plot -> draws it
const inView = new IntersectionObserver((entries) => entries.forEach((e) => e.isIntersecting && setTimeout(() => drawNow(e.target))));

function drawNow(place) {
  if (!globalThis.Plotly) element("script", $("plotly").textContent, document.head);
  waiting.get(place)?.();
  waiting.delete(place);
}

addEventListener("beforeprint", () => [...waiting.keys()].forEach(drawNow));

// A plot is drawn when its place, of fixed height, is scrolled into view: Plotly is most of this page's code.
function plot(place, traces, x, y, more = {}) {
  const layout = {
    template: data.templates[dark.matches ? "dark" : "white"],
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 55, r: 10, t: 10, b: 40 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 11 } },
    showlegend: true,
    hoverlabel: { namelength: -1 },
    modebar: { bgcolor: "rgba(0,0,0,0)" },
    ...more,
    xaxis: { title: { text: x }, automargin: true, ...more.xaxis },
    yaxis: { title: { text: y }, ...more.yaxis },
  };
  waiting.set(place, () => Plotly.react(place, traces.map((t) => ({ ...t, name: t.name && label(t.name) })), layout, OPTIONS));
  inView.observe(place);
}

// Mean and band by epoch of a metric, for each stage of a task.
function curves(chosen, task, metric, faint) {
  return chosen.flatMap((item) => [...new Set(item.runs.flatMap((run) => Object.keys(run.history)))]
    .filter((stage) => stage.startsWith(task))
    .flatMap((stage, i) => [metric, faint].filter(Boolean).flatMap((m) => {
      const runs = item.runs.map((run) => run.history[stage]?.[m]).filter(Boolean);
      const epochs = Array.from({ length: Math.max(0, ...runs.map((r) => r.length)) }, (_, e) =>
        runs.filter((r) => e < r.length).map((r) => r[e]));
      const [y, sd, x] = [epochs.map(mean), epochs.map(deviation), epochs.map((_, e) => e + 1)];
      const about = { name: item.name, legendgroup: item.id, hoverinfo: "skip", showlegend: false };
      const line = { color: item.colour, dash: stage.endsWith("backward") ? "dash" : "solid", width: 2 };
      const band = { ...about, x: [...x, ...x.toReversed()], y: [...y.map((v, e) => v + sd[e]), ...y.map((v, e) => Math.max(0, v - sd[e])).toReversed()],
        fill: "toself", fillcolor: `${item.colour}26`, mode: "lines", line: { width: 0 } };
      const middle = { ...about, x, y, line, mode: "lines", opacity: m === faint ? 0.3 : 1, showlegend: m === metric && !i,
        hovertemplate: `${stage} ${m.replaceAll("_", " ")} %{y}`, hoverinfo: undefined };
      return m === metric && runs.length > 1 ? [band, middle] : [middle];
    })));
}

function rates(chosen, task) {
  return chosen.flatMap(({ id, name, variant, colour }) => {
    const rates = data.rates[variant.rates][task];
    if (!rates) return [];
    return [["top", "solid"], ["lowest", "dot"]].map(([group, dash]) => ({
      x: rates.epoch, y: rates[group], name, mode: "lines", line: { color: colour, dash }, legendgroup: id, showlegend: dash === "solid",
      hovertemplate: `${group} %{y}`,
    }));
  });
}

function differences(chosen) {
  const all = chosen.map(({ variant, single, runs }) => ({ ...variant.settings, ...(single && { run: runs[0].name }) }));
  $("differences").replaceChildren();
  for (const key of new Set(all.flatMap(Object.keys))) {
    const values = all.map((settings) => ["", null, undefined].includes(settings[key]) ? "not set" : settings[key]);
    if (new Set(values.map(JSON.stringify)).size < 2) continue;
    const line = element("p", "", $("differences"));
    element("b", `${key.replace(/^recipe\./, "")}: `, line);
    values.forEach((value, i) => {
      if (i) line.append(" vs ");
      element("i", "", line).style.background = chosen[i].colour;
      element("span", value, line);
    });
  }
  if (!$("differences").children.length) element("p", chosen.length < 2 ? "Choose two variants." : "None.", $("differences"));
}

// Names the items whose records lack what is plotted of the others.
function without(what, items, place) {
  if (items.length) element("p", `Records without ${what}: ${items.map(({ name }) => name).join("; ")}.`, place);
}

function perClass(chosen) {
  const place = $("per-class");
  const [shown, reliable] = ["classes", "reliability"].map((k) => chosen
    .map((item) => ({ ...item, runs: item.runs.filter((run) => Object.keys(run[k] ?? {}).length) }))
    .filter((item) => item.runs.length));
  place.replaceChildren();
  const plots = [];
  for (const metric of shown.length ? ["recall", "precision"] : []) {
    const traces = shown.map(({ name, colour, runs }) => {
      const classes = Object.keys(runs[0].classes).slice(0, MOST_CLASSES);
      const values = classes.map((c) => runs.map((run) => run.classes[c]?.[metric] ?? 0));
      const [y, sd] = [values.map(mean), values.map(deviation)];
      const [array, arrayminus] = [sd.map((d, i) => Math.min(d, 1 - y[i])), sd.map((d, i) => Math.min(d, y[i]))]; // within 0 and 1
      return { x: classes, y, name, type: "bar", marker: { color: colour },
        error_y: { type: "data", array, arrayminus, symmetric: false, thickness: 1, width: 2, visible: runs.length > 1 } };
    });
    plots.push([traces, "", metric, { xaxis: classAxis([...new Set(traces.flatMap((t) => t.x))]), yaxis: { tickformat: ".0%", rangemode: "tozero" } }]);
  }
  if (reliable.length) {
    const traces = reliable.map(({ name, colour, runs }) => {
      const bins = Map.groupBy(runs.flatMap((run) => run.reliability), (b) => Math.min(9, Math.floor(10 * b.confidence)));
      const pooled = [...bins].sort(([a], [b]) => a - b).map(([, parts]) => {
        const n = parts.reduce((sum, b) => sum + b.n, 0);
        return Object.fromEntries(["confidence", "accuracy"].map((k) => [k, parts.reduce((s, b) => s + b.n * b[k], 0) / n]).concat([["n", n]]));
      });
      return { x: pooled.map((b) => b.confidence), y: pooled.map((b) => b.accuracy), text: pooled.map((b) => `${b.n} texts`),
        name, mode: "lines+markers", line: { color: colour } };
    });
    const share = { tickformat: ".0%", range: [0, 1.02] };
    traces.push({ x: [0, 1], y: [0, 1], mode: "lines", line: { color: "#888", dash: "dot" }, showlegend: false, hoverinfo: "skip" });
    plots.push([traces, "confidence", "accuracy", { xaxis: share, yaxis: share }]);
  }
  for (const arguments_ of plots) plot(element("div", "", place), ...arguments_);
  $("ece").replaceChildren();
  for (const { name, runs } of chosen) {
    const found = runs.map((run) => run.ece).filter(Boolean);
    const [before, after, temperature] = [0, 1, 2].map((i) => mean(found.map((ece) => ece[i])));
    if (found.length) element("p", `${name}: expected calibration error ${(100 * before).toFixed(1)} %, after temperature ` +
      `scaling ${(100 * after).toFixed(1)} % (T = ${temperature.toFixed(2)}).`, $("ece"));
  }
  const most = Math.max(0, ...shown.map(({ runs }) => Object.keys(runs[0].classes).length));
  if (most > MOST_CLASSES) element("p", `Of ${most} classes the first ${MOST_CLASSES} are shown.`, $("ece"));
  if (plots.length) without("the reliability diagram", chosen.filter(({ id }) => !reliable.some((item) => item.id === id)), $("ece"));
  else element("p", ELSEWHERE, $("ece"));
}

function matrices(chosen) {
  const having = chosen.filter(({ runs }) => runs.some((run) => run.confusion));
  const shown = having.slice(0, MOST_MATRICES);
  const paper = getComputedStyle(document.body).backgroundColor;
  $("matrices").replaceChildren();
  for (const { name, colour, runs } of shown) {
    const found = runs.map((run) => run.confusion).filter(Boolean);
    const classes = [...new Set(found.flatMap(Object.keys))];
    const counts = classes.map((c) => classes.map((other) => found.reduce((sum, of) => sum + (of[c]?.[other] ?? 0), 0)));
    const share = counts.map((row) => row.map((n) => n / Math.max(1, row.reduce((a, b) => a + b))));
    const axis = { ...classAxis(classes), automargin: true };
    plot(element("div", "", $("matrices")), [{
      type: "heatmap", x: classes, y: classes, z: share, text: counts, colorscale: [[0, paper], [1, colour]], zmin: 0, zmax: 1,
      showscale: false, texttemplate: classes.length < 20 ? "%{text}" : "",
      hovertemplate: "%{y} predicted to be %{x}: %{text}<extra></extra>",
    }], "", "", {
      title: { text: label(name), font: { size: 12 } },
      margin: { l: 60, r: 10, t: 30, b: 40 },
      xaxis: axis,
      yaxis: { ...axis, autorange: "reversed" },
    });
  }
  if (shown.length) without("a confusion matrix", chosen.filter((item) => !having.includes(item)), $("matrices"));
  else element("p", ELSEWHERE, $("matrices"));
  if (having.length > MOST_MATRICES) element("p", `Of ${having.length} matrices the first ${MOST_MATRICES} are shown.`, $("matrices"));
}

function mistakes(chosen) {
  $("mistaken").replaceChildren();
  for (const { name, single, runs } of chosen) {
    for (const run of runs.filter((r) => r.mistakes)) {
      const part = element("details", "", $("mistaken"), { open: !$("mistaken").children.length });
      element("summary", single ? name : `${name}, ${run.name}`, part);
      part.append(document.createRange().createContextualFragment(run.mistakes));
    }
  }
  if (!$("mistaken").children.length)
    element("p", "Texts of mistakes are shown for the 50 newest runs below --home; committed records have none.", $("mistaken"));
}

function drawAll(chosen) {
  waiting.clear();
  inView.disconnect();
  plot($("clas-error"), curves(chosen, "clas", "valid_error_rate"), "epoch", "validation error", { yaxis: { tickformat: ".1~%" } });
  plot($("clas-loss"), curves(chosen, "clas", "valid_loss", "train_loss"), "epoch", "classifier: loss");
  plot($("lm-loss"), curves(chosen, "lm", "valid_loss", "train_loss"), "epoch", "language model: loss");
  for (const [task, name] of [["clas", "classifier"], ["lm", "language model"]])
    plot($(`${task}-rates`), rates(chosen, task), "epoch", `${name}: learning rate`, { yaxis: { type: "log", tickformat: ".0e" } });
  [differences, perClass, matrices, mistakes].forEach((part) => part(chosen));
}
