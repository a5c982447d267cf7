// Which units are shown: by label, by confidence, by id.

const shown = new Set(units);
const boxes = new Map();

function offerLabels() {
  if (data.labels === null) return;
  const counts = new Map();
  for (const label of data.labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const names = data.classes.map((one) => one.name).filter((one) => counts.has(one));
  for (const last of [UNKNOWN, ""]) if (counts.has(last) && !names.includes(last)) names.push(last);
  const list = make("div", { class: "list" });
  for (const name of names) {
    const box = make("input", { type: "checkbox", checked: "" });
    boxes.set(name, box);
    list.append(make("label", { class: "check" }, box, swatch(name),
      make("bdi", {}, named(name)), make("span", {}, String(counts.get(name)))));
  }
  get("label-title").textContent = `${data.predicted ? "Predicted " : ""}${(data.target || "").replaceAll("_", " ")}`;
  get("label-filter").append(list);
  get("label-filter").hidden = false;
}
function passes(i) {
  const box = boxes.get(labelOf(i));
  const least = Number(get("confidence").value);
  const sure = data.confidence === null || least === 0 ||
    (data.confidence[i] !== null && data.confidence[i] >= least);
  const asked = get("search").value.trim().toLowerCase();
  return (!box || box.checked) && sure && data.ids[i].toLowerCase().includes(asked);
}
function filter() {
  for (const i of units) {
    if (passes(i)) shown.add(i); else shown.delete(i);
    rows[i].hidden = !shown.has(i);
    if (points[i]) points[i].classList.toggle("out", !shown.has(i));
    if (points[i]) points[i].setAttribute("aria-hidden", String(!shown.has(i)));
  }
  const least = number(Number(get("confidence").value));
  get("confidence-value").textContent = `≥ ${least}`;
  get("confidence").setAttribute("aria-valuetext", `at least ${least}`);
  get("count").textContent = `${shown.size} of ${units.length} shown`;
  get("no-unit").hidden = shown.size > 0;
  if (active !== null && !shown.has(active)) activate(null);
}
