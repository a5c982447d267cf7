// The kinds of units beside each other: their mean autocorrelogram, and where they lie in depth.

const kinds = () => [...data.classes.map((one) => one.name), UNKNOWN]
  .map((name) => [name, units.filter((i) => labelOf(i) === name)])
  .filter(([, members]) => members.length);

// In multiples of each unit's mean rate, so that no unit counts more because it fires more.
function meanAutocorrelogram(members) {
  const { lags, peaks, autocorrelograms } = data.activity;
  const firing = members.filter((i) => peaks[i] > 0 && data.rate && data.rate[i] > 0);
  const mean = new Array(lags).fill(0);
  for (const i of firing) {
    bytes(autocorrelograms[i]).forEach((value, k) => {
      mean[k] += ((value / 255) * peaks[i]) / data.rate[i] / firing.length;
    });
  }
  return firing.length ? correlogram(mean, 1, "times the mean rate", "mean autocorrelogram") : null;
}
function depthPlot(groups) {
  const { name, values, down } = data.depth;
  const there = groups.map(([label, members]) => [label, members.filter((i) => values[i] !== null)]);
  const all = there.flatMap(([, members]) => members.map((i) => values[i]));
  const [low, high] = extremes(all);
  const y = (value) => 8 + (204 * (down ? value - low : high - value)) / (high - low || 1);
  const width = 350 / there.length;
  const marks = there.flatMap(([label, members], k) => [
    ...members.map((i, n) => symbol(label, "point", { transform:
      `translate(${(48 + (k + 0.2 + 0.6 * ((n * 0.618) % 1)) * width).toFixed(1)},` +
      `${y(values[i]).toFixed(1)}) scale(3)` })),
    there.length > 7 ? null : note(48 + (k + 0.5) * width, 236, "middle", label.slice(0, 12)),
  ]);
  const axis = ticks(low, high, 5).flatMap((value) => [
    draw("path", { class: "rule", d: `M44,${y(value).toFixed(1)}h4` }),
    note(40, y(value) + 4, "end", significant(value)),
  ]);
  return make("figure", { class: "wide" }, make("h4", {}, `${name[0].toUpperCase()}${name.slice(1)} (µm)`),
    plot(242, `${name} of the units of each label`, draw("path", { class: "rule", d: "M48,4V220" }),
      ...axis, ...marks));
}
function buildKinds() {
  const groups = data.labels === null ? [] : kinds();
  const made = data.activity.rasters && groups.length
    ? groups.slice(0, 12).map(([label, members]) => [label, members, meanAutocorrelogram(members)])
      .filter((one) => one[2])
      .map(([label, members, drawn]) => make("figure", {}, make("h3", {}, swatch(label), " ",
        make("bdi", {}, label), make("small", {}, ` ${members.length} units`)), ...drawn))
    : [];
  if (data.depth && groups.length) made.push(depthPlot(groups));
  get("kinds-section").hidden = made.length === 0;
  get("kinds").append(...made);
}
