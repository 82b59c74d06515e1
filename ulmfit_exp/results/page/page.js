// The table of variants, and what is chosen in it, which is in the address:
// #show=DATASET/VARIANT,DATASET/VARIANT/seed0&data=TREC-6&search=freez&sort=minutes:desc&open=DATASET/VARIANT
const code = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(code));
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf",
  "#7f7f7f", "#bcbd22", "#393b79", "#637939", "#8c6d31", "#ad494a", "#a55194", "#3182bd"];
const SIGNIFICANT = 0.05;
const SORT = "test:asc";
const byId = new Map(data.variants.map((v) => [v.id, v]));
let state;

// What an id stands for: a variant with all of its runs, or one run of it.
function find(id) {
  const variant = byId.get(id) ?? byId.get(id.slice(0, id.lastIndexOf("/")));
  const runs = variant?.runs.filter((run) => variant.id === id || `${variant.id}/${run.name}` === id) ?? [];
  return runs.length && { id, variant, runs, single: variant.id !== id };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch { // a lone %
    return text;
  }
}

// The variants whose runs are shown in the table, unless the address says which: the one that is alone there, as after a link
// in a table of the paper.
const usuallyOpen = (show) => (show.length === 1 ? [find(show[0]).variant.id] : []);

function fromAddress() {
  const given = Object.fromEntries(location.hash.slice(1).split("&").map((part) => {
    const [key, ...value] = part.split("=");
    return [key, decoded(value.join("="))];
  }));
  const show = given.show === undefined ? data.opening : given.show.split(",").map((id) => id.replace(/^\//, ""));
  const known = show.filter(find);
  return { show: known, unknown: show.filter((id) => id && !find(id)), data: given.data ?? (known.length ? find(known[0]).variant.data : ""), search: given.search ?? "", sort: given.sort ?? SORT, open: given.open?.split(",") ?? usuallyOpen(known) };
}

function change(next, kind = "pushState") {
  state = { ...state, unknown: [], ...next };
  const parts = [`show=${encodeURI(state.show.join(","))}`, `data=${encodeURIComponent(state.data)}`];
  if (state.search) parts.push(`search=${encodeURIComponent(state.search)}`);
  if (state.sort !== SORT) parts.push(`sort=${state.sort}`);
  if (state.open.join() !== usuallyOpen(state.show).join()) parts.push(`open=${encodeURI(state.open.join(","))}`);
  history[kind](null, "", `#${parts.join("&")}`);
  filter();
  if (next.show) draw();
}

const toggle = (id) => change({ show: state.show.includes(id) ? state.show.filter((s) => s !== id) : [...state.show, id] });

function compared(chosen) {
  const buttons = () => [...$("chosen").querySelectorAll("button")];
  const focused = buttons().indexOf(document.activeElement);
  $("chosen").replaceChildren();
  chosen.forEach(({ id, full, colour, runs }, i) => {
    const item = element("li", "", $("chosen"));
    element("i", "", item).style.background = colour;
    item.append(full);
    element("span", ` ${i ? "" : "reference, "}${runs.length} run${runs.length > 1 ? "s" : ""}`, item, { className: "faint" });
    if (i) element("button", "make reference", item, { onclick: () => change({ show: [id, ...state.show.filter((s) => s !== id)] }) });
    element("button", "×", item, { onclick: () => toggle(id), ariaLabel: `leave out ${full}` });
  });
  for (const id of state.unknown) element("li", `not in this report: ${id}`, $("chosen"), { className: "faint" });
  if (!chosen.length) element("li", "Choose variants in the table.", $("chosen"));
  if (focused >= 0) buttons().at(Math.min(focused, buttons().length - 1))?.focus();
}

function box(id, parent) {
  return element("input", "", parent, { type: "checkbox", value: id, ariaLabel: `compare ${id}`, onclick: (e) => e.stopPropagation(),
    onchange: () => toggle(id) });
}

function runsOf(variant) {
  const made = element("table", "");
  const head = element("tr", "", made);
  const directions = [...new Set(variant.runs.flatMap((run) => Object.keys(run.alone)))];
  const alone = directions.map((direction) => `${direction} alone, test error %`);
  ["", "run", "validation error %", "test error %", ...alone, "record", "to reproduce"].forEach((name) => element("th", name, head));
  for (const run of variant.runs) {
    const row = element("tr", "", made);
    box(`${variant.id}/${run.name}`, element("td", "", row));
    element("td", run.name, row, { title: run.made });
    [run.valid, run.test, ...directions.map((direction) => run.alone[direction])].forEach((error) => element("td", error?.toFixed(2) ?? "", row));
    element("a", run.path, element("td", "", row), { href: run.link, title: run.made });
    element("code", run.command, element("td", "", row));
  }
  return made;
}

const toggleRuns = (id) => change({ open: state.open.includes(id) ? state.open.filter((o) => o !== id) : [...state.open, id] }, "replaceState");

function showRuns() {
  data.variants.forEach((variant, i) => {
    const { child } = table.row(i);
    table.row(i).node().querySelector("button").ariaExpanded = state.open.includes(variant.id);
    if (state.open.includes(variant.id) === child.isShown()) return;
    if (child.isShown()) child.hide();
    else child(runsOf(variant)).show();
  });
}

// The boxes and colours of what is chosen, in the table and in the runs that are open.
function mark() {
  for (const input of $("variants").querySelectorAll("input")) {
    const place = state.show.indexOf(input.value);
    input.checked = place >= 0;
    input.style.accentColor = COLOURS[place % COLOURS.length];
    input.closest("tr").classList.toggle("chosen", place >= 0);
  }
}

function filter() {
  const focused = document.activeElement; // drawing takes the table's rows out for a moment
  table.cells(null, "p:name").invalidate();
  const column = table.search(state.search).column("data:name");
  const matches = column.search("").draw().rows({ search: "applied" }).data().toArray(); // in all data sets
  const found = (data) => matches.filter((v) => v.data === data).length;
  const within = found(state.data) ? state.data : ""; // where it has no match, those of the others are shown
  for (const button of $("datasets").children) {
    button.lastChild.data = button.value ? `${button.value} (${found(button.value)})` : "all";
    button.ariaPressed = button.value === within;
  }
  column.visible(!within);
  if (within) column.search((value) => value === within).draw();
  showRuns();
  mark();
  focused.focus({ preventScroll: true });
}

function draw() {
  const several = new Set(state.show.map((id) => find(id).variant.data)).size > 1;
  const chosen = state.show.map(find).map((item, i) => {
    const short = item.variant.name + (item.single ? `, ${item.runs[0].name}` : "");
    const full = `${item.variant.data}, ${short}`;
    return { ...item, colour: COLOURS[i % COLOURS.length], full, name: several ? full : short };
  });
  compared(chosen);
  drawAll(chosen);
}

// The state in the address.
function restore() {
  state = fromAddress();
  const [name, dir] = state.sort.split(":");
  const place = columns.findIndex((c) => c.name === name);
  table.order(place < 0 ? [] : [place, dir === "desc" ? "desc" : "asc"]);
  filter();
  draw();
  if (state.show.length !== 1) return;
  const row = table.row(data.variants.indexOf(find(state.show[0]).variant)).node();
  const box = row.closest(".dt-layout-cell"); // none where the row is filtered out
  if (box) box.scrollTop = row.offsetTop - 2 * row.offsetHeight;
}

const escaped = DataTable.render.text().display;
const absent = (type) => (type === "sort" ? Infinity : ""); // in ascending order after all figures
const measure = (key) => (variant, type) => variant[key]?.[type === "display" || type === "filter" ? 1 : 0] ?? absent(type);
const rounded = (variant, type) => (type === "display" ? variant.minutes[0].toFixed(1) : variant.minutes[0]);
const p = (variant) => data.p[find(state?.show[0] ?? "")?.variant?.id]?.[variant.id] ?? "";
const named = (variant, type) => type === "display"
  ? `${escaped(variant.name)} <span class="faint">${escaped(variant.rows)}</span>`
  : `${variant.name} ${variant.rows} ${variant.id} ${variant.words} ${variant.changes}`;
const column = (title, render, more) => ({ title, data: null, render, searchable: false, ...more });
const runsButton = (cell, _, variant) => cell.replaceChildren(element("button", `${variant.runs.length} ▸`, null, {
  title: "show the runs",
  onclick: (e) => { e.stopPropagation(); toggleRuns(variant.id); },
}));
const columns = [
  column("", () => "", { orderable: false, createdCell: (cell, _, variant) => box(variant.id, cell) }),
  column("data set", (variant, type) => (type === "display" ? escaped(variant.data) : variant.data), { name: "data", searchable: true }),
  column("variant", named, { name: "variant", searchable: true, createdCell: (cell, _, variant) => { cell.title = variant.changes; } }),
  column("runs", (variant) => variant.runs.length, { name: "runs", createdCell: runsButton }),
  column("validation error %", measure("valid"), { name: "valid" }),
  column("test error %", measure("test"), { name: "test" }),
  column("TF-IDF error %", measure("baseline"), { name: "baseline" }),
  column("p", (variant, type) => p(variant) === "" ? absent(type) : type === "display" ? `${p(variant)}${p(variant) < SIGNIFICANT ? " *" : ""}` : p(variant), { name: "p" }),
  column("perplexity", measure("perplexity"), { name: "perplexity", visible: data.variants.some((v) => v.perplexity) }),
  column("minutes", rounded, { name: "minutes" }),
];
const table = new DataTable("#variants", {
  data: data.variants,
  columns,
  layout: { topStart: "info", topEnd: "search", bottomStart: null, bottomEnd: null },
  language: { info: "variants: _TOTAL_", infoEmpty: "no variant", infoFiltered: "of _MAX_", zeroRecords: "No variant matches." },
  paging: false,
  autoWidth: false,
});
table.on("click", "tbody > tr", function () {
  const input = this.querySelector(":scope > td > input");
  if (input) toggle(input.value);
});
table.on("order", () => {
  const [[place, dir] = []] = table.order();
  const sort = dir ? `${columns[place].name}:${dir}` : "";
  if (state && sort !== state.sort) change({ sort }, "replaceState");
});
table.on("search", () => { if (state && table.search() !== state.search) change({ search: table.search() }, "replaceState"); });
for (const name of new Set(["", ...data.variants.map((v) => v.data)]))
  element("button", name || "all", $("datasets"), { value: name, onclick: () => change({ data: name }) });
document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", () => {
  document.documentElement.classList.toggle("dark", dark.matches);
  draw();
});
for (const link of document.querySelectorAll("nav a"))
  link.onclick = (e) => {
    e.preventDefault(); // the address has the selection
    const section = document.querySelector(link.hash);
    section.tabIndex = -1;
    section.focus({ preventScroll: true }); // Tab continues from here
    section.scrollIntoView();
  };
let clicked = false; // a link in a table of the paper leads to the table of variants, and Back to where it was
document.addEventListener("click", (e) => { clicked = Boolean(e.target.closest("#paper a")); });
addEventListener("popstate", () => {
  restore();
  if (clicked) $("variants-of").scrollIntoView();
  clicked = false;
});
restore();
