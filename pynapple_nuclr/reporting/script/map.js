// The map: a list box of points, for the mouse and for the keyboard.

const map = get("map");
const points = units.map(() => null);
const places = units.map(() => null);
let active = null;
let chosen = null;
const rings = {
  chosen: draw("circle", { id: "chosen", r: 9, display: "none" }),
  ring: draw("circle", { id: "ring", r: 9, display: "none" }),
  ticks: draw("g", { class: "ticks", "aria-hidden": "true" }),
};

function describe(i) {
  const parts = [`Unit ${data.ids[i]}`];
  if (labelOf(i) !== null) parts.push(named(labelOf(i)));
  if (data.confidence && data.confidence[i] !== null) {
    parts.push(`confidence ${number(data.confidence[i])}`);
  }
  if (data.stability && data.stability[i] !== null) {
    parts.push(`stability ${number(data.stability[i])}`);
  }
  return parts;
}
function buildMap() {
  const there = units.filter((i) => data.points[i] !== null);
  get("map-figure").hidden = there.length === 0;
  const sizes = new Map();
  for (const i of there) sizes.set(labelOf(i), (sizes.get(labelOf(i)) ?? 0) + 1);
  // Large classes first, so that small ones lie on top; grey ones lie lowest.
  const rank = (i) => (labelOf(i) === null || classOf.has(labelOf(i)) ? 1 : 2);
  there.sort((a, b) => rank(b) - rank(a) || sizes.get(labelOf(b)) - sizes.get(labelOf(a)));
  const group = draw("g", { role: "none" });
  for (const i of there) {
    points[i] = symbol(labelOf(i), "point", {
      id: `p${i}`, role: "option", "aria-label": describe(i).join(", "), "aria-selected": "false",
    });
    group.append(points[i]);
  }
  map.append(rings.ticks, group, rings.chosen, rings.ring);
  if (!there.length) return;
  get("map-axes").textContent = `Across: ${data.axes[0]}. Upwards: ${data.axes[1]}.`;
  new ResizeObserver(layOut).observe(map.parentElement);
  layOut();
}
function layOut() {
  const width = map.parentElement.clientWidth;
  const height = Math.round(Math.min(Math.max(width * 1.02, 280), 600));
  const there = units.filter((i) => points[i]);
  const radius = Math.min(Math.max(60 / Math.sqrt(there.length), 3.2), 6) * (width < 420 ? 0.85 : 1);
  map.setAttribute("viewBox", `0 0 ${width} ${height}`);
  map.setAttribute("height", height);
  const isMeasured = data.axes[0].startsWith("PC"); // elsewhere positions have no unit
  const margin = isMeasured ? 34 : 20;
  const scale = (axis, size) => {
    const [low, high] = extremes(there.map((i) => data.points[i][axis]));
    const at = (value) => margin + ((value - low) / (high - low || 1)) * (size - margin - 20);
    return [at, isMeasured ? ticks(low, high, 4) : []];
  };
  const [[x, acrossTicks], [y, upTicks]] = [scale(0, width), scale(1, height)];
  rings.ticks.replaceChildren(
    ...acrossTicks.map((value) => note(x(value), height - 8, "middle", significant(value))),
    ...upTicks.map((value) => note(28, height - y(value) + 4, "end", significant(value))));
  for (const i of there) {
    places[i] = [x(data.points[i][0]), height - y(data.points[i][1])];
    const [left, top] = places[i].map((one) => one.toFixed(1));
    points[i].setAttribute("transform", `translate(${left},${top}) scale(${radius.toFixed(2)})`);
  }
  place(rings.ring, active);
  place(rings.chosen, chosen);
}
function place(ring, i) {
  if (i === null || !places[i]) return ring.setAttribute("display", "none");
  ring.setAttribute("cx", places[i][0]);
  ring.setAttribute("cy", places[i][1]);
  return ring.removeAttribute("display");
}
function activate(i) {
  active = i;
  place(rings.ring, i);
  const tip = get("tip");
  tip.hidden = i === null;
  if (i === null) return map.removeAttribute("aria-activedescendant");
  map.setAttribute("aria-activedescendant", `p${i}`);
  const [title, ...rest] = describe(i);
  tip.replaceChildren(make("strong", {}, make("bdi", {}, title)), make("br"),
    make("bdi", {}, rest.join(", ")));
  const [x, y] = places[i];
  const left = Math.min(Math.max(x - tip.offsetWidth / 2, 0), map.clientWidth - tip.offsetWidth);
  const above = y - tip.offsetHeight - 14;
  tip.style.left = `${Math.max(left, 0)}px`;
  tip.style.top = `${above > 0 ? above : y + 14}px`;
  return undefined;
}
function nearest(event, reach) {
  const box = map.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let [best, least] = [null, reach];
  for (const i of shown) {
    if (!places[i]) continue;
    const distance = Math.hypot(places[i][0] - x, places[i][1] - y);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function step(key) {
  const there = [...shown].filter((i) => places[i]);
  if (!there.length) return;
  if (active === null) return activate(there[0]);
  const [dx, dy] = ARROWS[key];
  let [best, least] = [active, Infinity];
  for (const i of there) {
    const [x, y] = [places[i][0] - places[active][0], places[i][1] - places[active][1]];
    const [along, aside] = [x * dx + y * dy, Math.abs(x * dy - y * dx)];
    if (along > 0.01 && along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
  }
  activate(best);
}
function listenToMap() {
  map.addEventListener("pointermove", (event) => {
    const i = nearest(event, 16);
    if (i !== active) activate(i);
  });
  map.addEventListener("pointerleave", () => activate(null));
  map.addEventListener("click", (event) => {
    const i = nearest(event, 24);
    if (i !== null) open(i, map, false);
  });
  map.addEventListener("focus", () => {
    if (active === null && map.matches(":focus-visible")) {
      const first = chosen !== null && shown.has(chosen) && places[chosen] ? chosen
        : [...shown].find((i) => places[i]);
      if (first !== undefined) activate(first);
    }
  });
  map.addEventListener("blur", () => activate(null));
  map.addEventListener("keydown", (event) => {
    if (event.key in ARROWS) step(event.key);
    else if ((event.key === "Enter" || event.key === " ") && active !== null) open(active, map, true);
    else return;
    event.preventDefault();
  });
}
