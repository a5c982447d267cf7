// The kinds of units beside each other: their mean autocorrelogram, and where they lie in depth.

const kinds = () => [...data.classes.map((one) => one.name), UNKNOWN]
  .map((name) => [name, units.filter((i) => labelOf(i) === name)])
  .filter(([, members]) => members.length);

// In multiples of the mean rate, each unit weighted by its rate: with equal weights, single
// intervals of units with few spikes would decide.
function meanAutocorrelogram(members) {
  const { lags, peaks, autocorrelograms } = data.activity;
  const firing = members.filter((i) => peaks[i] > 0 && data.rate && data.rate[i] > 0);
  const mean = new Array(lags).fill(0);
  const total = firing.reduce((sum, i) => sum + data.rate[i], 0);
  for (const i of firing) {
    bytes(autocorrelograms[i]).forEach((value, k) => { mean[k] += ((value / 255) * peaks[i]) / total; });
  }
  return firing.length ? correlogram(mean, 1, "times the mean rate", "mean autocorrelogram") : null;
}
// Up to 100 units, and their mean in front.
function meanWaveform(members) {
  const known = members.filter((i) => data.waveforms && data.waveforms[i]);
  if (!known.length) return [];
  const all = known.map(samplesOf);
  const mean = all[0].map((_, k) => all.reduce((sum, one) => sum + one[k], 0) / all.length);
  const step = Math.ceil(all.length / 100);
  const some = all.filter((_, k) => k % step === 0).map((one) => [one, "pale"]);
  return waveformPlot([...some, [mean, "mean"]], "Waveforms, each scaled to its peak, and their mean");
}
// From the middle, because names of kinds often differ at the end: "region number 12".
function shortened(text, most) {
  const [letters, kept] = [[...text], Math.max(Math.floor(most) - 1, 2)];
  if (letters.length <= most) return text;
  return [...letters.slice(0, Math.ceil(kept / 2)), "…", ...letters.slice(-Math.floor(kept / 2))].join("");
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
    there.length > 7 ? null : note(48 + (k + 0.5) * width, 236, "middle", shortened(label, width / 6.5)),
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
    ? groups.slice(0, 12).map(([label, members]) => [label, members,
      [...meanWaveform(members), ...(meanAutocorrelogram(members) || [])]])
      .filter((one) => one[2].length)
      .map(([label, members, drawn]) => make("figure", {}, make("h3", {}, swatch(label), " ",
        make("bdi", {}, label),
        make("small", {}, ` ${members.length} unit${members.length === 1 ? "" : "s"}`)), ...drawn))
    : [];
  if (data.depth && groups.length) made.push(depthPlot(groups));
  get("kinds-section").hidden = made.length === 0;
  get("kinds").append(...made);
}
