// The card of one unit.

function probabilities(i) {
  if (!data.probabilities || data.probabilities.values[i].includes(null)) return [];
  const { classes, values } = data.probabilities;
  const ranked = classes.map((name, k) => [name, values[i][k]]).sort((a, b) => b[1] - a[1]);
  const bars = ranked.slice(0, 10).map(([name, value]) => {
    const inner = make("span");
    inner.style.width = `${100 * value}%`;
    inner.style.setProperty("--c", look(name).colour || "var(--soft)");
    return make("li", {}, make("bdi", {}, name), make("div", { class: "bar" }, inner),
      make("span", {}, number(value)));
  });
  const rest = ranked.slice(10).reduce((sum, [, value]) => sum + value, 0);
  if (ranked.length > 10) {
    bars.push(make("li", {}, `${ranked.length - 10} more`, make("span"), make("span", {}, number(rest))));
  }
  return [make("h4", {}, "Probability of each label"), make("ul", { class: "bars" }, ...bars)];
}
function neighbours(i) {
  const found = data.neighbours[i].map(([other, similarity]) => make("li", {},
    swatch(labelOf(other)),
    button(make("bdi", {}, data.ids[other]), () => open(other, origin, true),
      { "aria-label": `Neighbour: unit ${data.ids[other]}` }),
    make("bdi", {}, labelOf(other) === null ? "" : named(labelOf(other))),
    make("span", {}, number(similarity))));
  const list = found.length ? make("ul", { class: "near" }, ...found)
    : make("p", { class: "hint" }, "No embedding to compare.");
  return [make("h4", {}, "Nearest neighbours, by similarity"), list];
}
function entries(i) {
  const own = data.own.names.map((name, k) => [name, data.own.values[k][i]]);
  const pairs = [
    data.given && [`${data.target.replaceAll("_", " ")}, in the file`, named(data.given[i])],
    data.rate && ["Rate", `${significant(data.rate[i])} Hz`],
    data.stability && ["Stability", number(data.stability[i])],
    data.windows && ["Windows", number(data.windows[i], 0)],
    ...own,
  ].filter(Boolean);
  return make("dl", { class: "values" }, ...pairs.map(([name, value]) =>
    make("div", {}, make("dt", {}, make("bdi", {}, name)), make("dd", {}, make("bdi", {}, value)))));
}
function said(i) {
  if (labelOf(i) === null) return null;
  const sure = data.confidence && data.confidence[i] !== null
    ? ` (confidence ${number(data.confidence[i])})` : "";
  return make("p", { class: "said" }, data.predicted ? "Predicted " : "",
    make("bdi", {}, named(labelOf(i))), make("small", {}, sure));
}
let origin = map;
function open(i, from, byKeyboard) {
  if (chosen !== null) mark(chosen, false);
  [chosen, origin] = [i, from];
  mark(i, true);
  const beside = (by) => () => {
    const there = [...get("units").tBodies[0].rows].map((row) => rows.indexOf(row))
      .filter((k) => shown.has(k));
    const at = there.indexOf(chosen);
    if (there.length) open(there[(at + by + there.length) % there.length], origin, false);
    get("card").querySelector(by < 0 ? ".steps button" : ".steps button + button").focus();
  };
  const title = make("h3", { id: "card-title", tabindex: "-1" }, swatch(labelOf(i)), " Unit ",
    make("bdi", {}, data.ids[i]));
  const steps = make("div", { class: "steps" },
    button("←", beside(-1), { "aria-label": "Previous unit of the table" }),
    button("→", beside(1), { "aria-label": "Next unit of the table" }),
    button("×", close, { "aria-label": "Close the card" }));
  const activity = data.activity.rasters ? [...waveform(i), ...raster(i), ...autocorrelogram(i)] : trace(i);
  get("card").replaceChildren(...[make("header", {}, title, steps), said(i), entries(i),
    ...probabilities(i), ...activity, ...neighbours(i)].filter((one) => one !== null));
  if (byKeyboard) title.focus({ preventScroll: true });
  const box = get("card").getBoundingClientRect();
  if (box.top < 0 || box.top > innerHeight - 120) {
    get("card").scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
  }
}
function close() {
  if (chosen === null) return;
  mark(chosen, false);
  chosen = null;
  place(rings.chosen, null);
  get("card").replaceChildren(make("p", { class: "hint", id: "card-title" }, "No unit chosen."));
  (origin.isConnected && !origin.closest("[hidden]") ? origin : map).focus();
}
function mark(i, is) {
  rows[i].classList.toggle("chosen", is);
  if (points[i]) points[i].setAttribute("aria-selected", String(is));
  if (is) place(rings.chosen, i);
}
