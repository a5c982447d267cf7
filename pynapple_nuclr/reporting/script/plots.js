// A unit's activity, drawn from bits and bytes.

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const plot = (height, label, ...children) => draw(
  "svg", { class: "plot", viewBox: `0 0 400 ${height}`, role: "img", "aria-label": label },
  ...children,
);
const note = (x, y, anchor, text) => draw("text", { x, y, "text-anchor": anchor }, text);
const minutes = (seconds) => (seconds < 600 ? `${significant(seconds)} s`
  : `${significant(seconds / 60)} min`);

const extremes = (values) => [values.reduce((a, b) => Math.min(a, b), Infinity),
  values.reduce((a, b) => Math.max(a, b), -Infinity)];
function ticks(low, high, most) {
  const least = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((k) => k * power).find((one) => one >= least * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}
// Ticks of the vertical axis at x = 50.
const upright = (values, level) => values.flatMap((value) => [
  draw("path", { class: "rule", d: `M45,${level(value).toFixed(1)}h5` }),
  note(42, level(value) + 4, "end", significant(value)),
]);

function raster(i) {
  const { starts, length, columns: width } = data.activity;
  const bits = bytes(data.activity.rasters[i]);
  const height = Math.max(3, Math.min(12, 150 / starts.length));
  const marks = [];
  for (let k = 0; k < starts.length * width; k += 1) {
    if (!(bits[k >> 3] & (128 >> (k & 7)))) continue;
    const top = Math.floor(k / width) * height + 0.5;
    marks.push(`M${((k % width) * 400) / width + 0.5},${top.toFixed(1)}v${(height - 1).toFixed(1)}`);
  }
  const bottom = starts.length * height + 2;
  const what = `${starts.length} excerpts from ${minutes(starts[0])} to ${minutes(starts.at(-1))}`;
  return [make("h4", {}, `Spikes in ${what}`), plot(
    bottom + 16, marks.length ? `Raster of ${what}` : "No spikes in these excerpts",
    draw("path", { class: "ink", d: marks.join("") || "M0,0" }),
    draw("path", { class: "rule", d: `M0,${bottom}H400` }),
    note(0, bottom + 14, "start", "0"), note(200, bottom + 14, "middle", significant(length / 2)),
    note(400, bottom + 14, "end", `${significant(length)} s`),
    draw("path", { class: "rule", d: `M200,${bottom}v4` }),
  )];
}
function correlogram(heights, mean, unit, what) {
  const lags = heights.length;
  const top = Math.max(...heights, mean);
  const width = 350 / (2 * lags);
  const level = (value) => 92 - (84 * value) / top;
  let bars = "";
  heights.forEach((value, k) => {
    for (const left of [225 + k * width, 225 - (k + 1) * width]) {
      bars += `M${left.toFixed(1)},92V${level(value).toFixed(1)}h${width}V92Z`;
    }
  });
  const peak = Math.max(...heights);
  return [make("h4", {}, `${what[0].toUpperCase()}${what.slice(1)} (${unit}); dotted: mean rate`),
    plot(108, `${what}, lags of up to ${lags} ms, peak ${significant(peak)} ${unit}`,
      draw("path", { class: "area", d: bars }),
      mean ? draw("path", { class: "dots", d: `M50,${level(mean).toFixed(1)}H400` }) : null,
      draw("path", { class: "rule", d: "M50,92.5H400" }),
      ...upright([0, peak], level),
      note(50, 106, "start", `−${lags}`), note(225, 106, "middle", "0"),
      note(400, 106, "end", `${lags} ms`))];
}
function autocorrelogram(i) {
  const { peaks, autocorrelograms } = data.activity;
  if (!peaks[i]) return [make("h4", {}, "Autocorrelogram"), make("p", { class: "hint" }, "Too few spikes.")];
  const heights = [...bytes(autocorrelograms[i])].map((value) => (value / 255) * peaks[i]);
  return correlogram(heights, (data.rate && data.rate[i]) || 0, "Hz", "autocorrelogram");
}
// Waveforms, each scaled to a peak of 1, on top of each other: [samples, class of the line].
function waveformPlot(lines, title) {
  const path = (samples) => samples.map((value, k) =>
    `${(50 + (k * 350) / (samples.length - 1)).toFixed(1)},${(56 - 48 * value).toFixed(1)}`).join("L");
  return [make("h4", {}, title), plot(108, title,
    draw("path", { class: "dots", d: "M50,56H400" }),
    ...lines.map(([samples, kind]) => draw("path", { class: kind, d: `M${path(samples)}` })))];
}
const samplesOf = (i) => [...bytes(data.waveforms[i])].map((value) => value / 127 - 1);
const waveform = (i) => (data.waveforms && data.waveforms[i]
  ? waveformPlot([[samplesOf(i), "ink"]], "Mean waveform, scaled to its peak") : []);
function trace(i) {
  const { start, end, columns: n, lowest, highest, traces } = data.activity;
  const ends = bytes(traces[i]);
  const x = (k) => (50 + (k * 350) / Math.max(n - 1, 1)).toFixed(1);
  const y = (value) => (101 - (94 * value) / 255).toFixed(1);
  const there = Array.from({ length: n }, (_, k) => `${x(k)},${y(ends[2 * k + 1])}`);
  const back = Array.from({ length: n }, (_, k) => `${x(n - 1 - k)},${y(ends[2 * (n - 1 - k)])}`);
  const span = highest[i] - lowest[i] || 1;
  return [make("h4", {}, "Trace (as given)"),
    plot(120, "Envelope of the trace",
      draw("path", { class: "area ink", d: `M${there.join("L")}L${back.join("L")}Z` }),
      draw("path", { class: "rule", d: "M50,103.5H400" }),
      ...upright([lowest[i], highest[i]], (value) => 101 - (94 * (value - lowest[i])) / span),
      note(50, 117, "start", minutes(start)), note(400, 117, "end", minutes(end)))];
}
