// Puts the chosen runs into DataTables' table and Plotly's plots. All data is in #data, and every text of it is set as
// text, never as HTML, but for the mistakes, which come escaped.
const data = JSON.parse(document.getElementById("data").textContent);
const code = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(code));
const dark = matchMedia("(prefers-color-scheme: dark)");
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf"];
const MOST_MATRICES = 4;
const $ = (id) => document.getElementById(id);

function element(tag, text, parent) {
  const made = document.createElement(tag);
  made.textContent = text;
  parent?.append(made);
  return made;
}

function plot(id, traces, x, y, more = {}) {
  const layout = {
    template: data.templates[dark.matches ? "dark" : "white"],
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 55, r: 10, t: 10, b: 40 },
    showlegend: false,
    xaxis: { title: { text: x }, tickformat: "~d" },
    hoverlabel: { namelength: -1 },
    yaxis: { title: { text: y } },
    ...more,
  };
  Plotly.react(id, traces, layout, { responsive: true, displaylogo: false });
}

function curves(chosen, task, metric, faint) {
  return chosen.flatMap(({ run, colour }) =>
    Object.entries(run.history).flatMap(([stage, columns]) =>
      stage.startsWith(task) ? [metric, faint].filter((m) => columns[m]).map((m) => ({
        x: columns[m].map((_, i) => i + 1),
        y: columns[m],
        name: `${run.name} ${stage} ${m.replaceAll("_", " ")}`,
        mode: "lines+markers",
        marker: { size: 4 },
        opacity: m === faint ? 0.3 : 1,
        line: { color: colour, dash: stage.endsWith("backward") ? "dash" : "solid" },
      })) : []));
}

function rates(chosen, task) {
  return chosen.flatMap(({ run, colour }) => {
    const plan = data.plans[run.plan][task];
    if (!plan) return [];
    const lowest = plan.epoch.map((_, i) => plan.groups.find((g) => g[i] !== null)[i]);
    const top = plan.epoch.map((_, i) => plan.groups.findLast((g) => g[i] !== null)[i]);
    return [["top", top, "solid"], ["lowest", lowest, "dot"]].map(([name, y, dash]) => ({
      x: plan.epoch, y, name: `${run.name} ${name}`, mode: "lines", line: { color: colour, dash },
    }));
  });
}

function differences(chosen) {
  const table = $("differences");
  table.replaceChildren();
  const head = element("tr", "", table);
  ["", ...chosen.map(({ run }) => run.name)].forEach((name) => element("th", name, head));
  const keys = new Set(chosen.flatMap(({ run }) => Object.keys(run.settings)));
  for (const key of keys) {
    const values = chosen.map(({ run }) => JSON.stringify(run.settings[key]) ?? "");
    if (new Set(values).size < 2) continue;
    const row = element("tr", "", table);
    [key, ...values].forEach((value) => element("td", value, row));
  }
  if (table.rows.length < 2) element("td", chosen.length < 2 ? "choose two runs" : "none", element("tr", "", table));
}

function matrices(chosen) {
  const shown = chosen.filter(({ run }) => run.confusion).slice(0, MOST_MATRICES);
  $("matrices").replaceChildren();
  const places = shown.map(() => element("div", "", $("matrices"))); // all, before one is as wide as there is room
  for (const [i, { run }] of shown.entries()) {
    const classes = Object.keys(run.confusion);
    const counts = classes.map((c) => classes.map((other) => run.confusion[c][other] ?? 0));
    const share = counts.map((row) => row.map((n) => n / Math.max(1, row.reduce((a, b) => a + b))));
    const axis = { type: "category", automargin: true };
    plot(places[i], [{
      type: "heatmap", x: classes, y: classes, z: share, text: counts, colorscale: "Blues", reversescale: true, zmin: 0, zmax: 1,
      showscale: false, texttemplate: classes.length < 20 ? "%{text}" : "",
      hovertemplate: "%{y} taken for %{x}: %{text}<extra></extra>",
    }], "", "", {
      title: { text: run.name, font: { size: 11 } },
      margin: { l: 60, r: 10, t: 30, b: 40 },
      xaxis: axis,
      yaxis: { ...axis, autorange: "reversed" },
    });
  }
  if (!shown.length) element("p", "None of the chosen runs has one.", $("matrices"));
}

function mistakes(chosen) {
  $("mistaken").replaceChildren();
  for (const { run } of chosen.filter(({ run }) => run.mistakes)) {
    element("h3", run.name, $("mistaken"));
    $("mistaken").append(document.createRange().createContextualFragment(run.mistakes));
  }
  if (!$("mistaken").children.length) element("p", "Of the chosen runs none is here with its texts.", $("mistaken"));
}

function draw() {
  const chosen = table.rows({ selected: true }).indexes().toArray()
    .map((at, i) => ({ at, run: data.runs[at], colour: COLOURS[i % COLOURS.length] }));
  $("chosen").replaceChildren();
  for (const { at, run, colour } of chosen) {
    const item = element("li", "", $("chosen"));
    element("i", "", item).style.background = colour;
    item.append(`${run.name}, ${run.made} `);
    element("button", "×", item).onclick = () => table.row(at).deselect();
  }
  if (!chosen.length) element("li", "No run is chosen.", $("chosen"));
  plot("lm-loss", curves(chosen, "lm", "valid_loss", "train_loss"), "epoch", "language model: loss");
  plot("clas-loss", curves(chosen, "clas", "valid_loss", "train_loss"), "epoch", "classifier: loss");
  plot("clas-error", curves(chosen, "clas", "valid_error_rate"), "epoch", "classifier: valid error",
    { yaxis: { title: { text: "classifier: valid error" }, tickformat: ".1%" } });
  for (const [task, name] of [["lm", "language model"], ["clas", "classifier"]])
    plot(`${task}-rates`, rates(chosen, task), "epoch", `${name}: rate`,
      { yaxis: { title: { text: `${name}: rate` }, type: "log", tickformat: ".0e" } });
  differences(chosen);
  matrices(chosen);
  mistakes(chosen);
}

document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", () => {
  document.documentElement.classList.toggle("dark", dark.matches);
  draw();
});
const text = DataTable.render.text();
const number = (column) => (value, type) =>
  type === "display" && typeof value === "number" && column.includes("%") ? value.toFixed(2) : text.display(value ?? "");
const table = new DataTable("#runs", {
  data: data.runs.map((run) => run.cells),
  columns: data.columns.map((column) => ({ ...column, render: number(column.title) })),
  columnDefs: [{ targets: data.facets, searchPanes: { show: true } }],
  layout: { top1: { searchPanes: { initCollapsed: true, columns: data.facets, viewCount: true } } },
  order: [],
  pageLength: 10,
  select: { style: "multi" },
});
table.rows([0, 1].filter((i) => i < data.runs.length)).select();
table.on("select deselect", draw);
draw();
