// A unit's activity, drawn from bits and bytes.

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const plot = (height, label, ...children) => draw(
  "svg", { class: "plot", viewBox: `0 0 400 ${height}`, role: "img", "aria-label": label },
  ...children,
);
const note = (x, y, anchor, text) => draw("text", { x, y, "text-anchor": anchor }, text);
const minutes = (seconds) => (seconds < 600 ? `${significant(seconds)} s`
  : `${significant(seconds / 60)} min`);

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
  const what = `${starts.length} windows from ${minutes(starts[0])} to ${minutes(starts.at(-1))}`;
  return [make("h4", {}, `Spikes in ${what}`), plot(
    bottom + 16, marks.length ? `Raster of ${what}` : "No spikes in these windows",
    draw("path", { class: "ink", d: marks.join("") || "M0,0" }),
    draw("path", { class: "rule", d: `M0,${bottom}H400` }),
    note(0, bottom + 14, "start", "0"), note(400, bottom + 14, "end", `${significant(length)} s`),
  )];
}
function autocorrelogram(i) {
  const { lags, peaks, autocorrelograms } = data.activity;
  const peak = peaks[i];
  if (!peak) return [make("h4", {}, "Autocorrelogram"), make("p", { class: "hint" }, "Too few spikes.")];
  const heights = bytes(autocorrelograms[i]);
  const rate = (data.rate && data.rate[i]) || 0;
  const top = Math.max(peak, rate);
  const width = 400 / (2 * lags);
  let bars = "";
  heights.forEach((value, k) => {
    const height = (((90 * value) / 255) * peak) / top;
    for (const left of [200 + k * width, 200 - (k + 1) * width]) {
      bars += `M${left.toFixed(1)},92v${(-height).toFixed(1)}h${width}v${height.toFixed(1)}Z`;
    }
  });
  const mean = (92 - (90 * rate) / top).toFixed(1);
  return [make("h4", {}, `Autocorrelogram, peak ${significant(peak)} Hz; dotted: mean rate`), plot(
    108, `Autocorrelogram, lags of up to ${lags} ms, peak ${significant(peak)} Hz`,
    draw("path", { class: "area", d: bars }),
    rate ? draw("path", { class: "dots", d: `M0,${mean}H400` }) : null,
    draw("path", { class: "rule", d: "M0,92.5H400" }),
    note(0, 106, "start", `−${lags}`), note(200, 106, "middle", "0"), note(400, 106, "end", `${lags} ms`),
  )];
}
function trace(i) {
  const { start, end, columns: n, lowest, highest, traces } = data.activity;
  const ends = bytes(traces[i]);
  const x = (k) => ((k * 400) / Math.max(n - 1, 1)).toFixed(1);
  const y = (value) => (101 - (100 * value) / 255).toFixed(1);
  const there = Array.from({ length: n }, (_, k) => `${x(k)},${y(ends[2 * k + 1])}`);
  const back = Array.from({ length: n }, (_, k) => `${x(n - 1 - k)},${y(ends[2 * (n - 1 - k)])}`);
  return [make("h4", {}, `Trace, ${significant(lowest[i])} to ${significant(highest[i])} (as given)`),
    plot(120, "Envelope of the trace",
      draw("path", { class: "area ink", d: `M${there.join("L")}L${back.join("L")}Z` }),
      draw("path", { class: "rule", d: "M0,103.5H400" }),
      note(0, 117, "start", minutes(start)), note(400, 117, "end", minutes(end)))];
}
