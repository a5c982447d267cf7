// The table of units, and tables that sort.

const rows = [];
const columns = [
  ["Unit", (i) => data.ids[i], null],
  data.labels && [data.predicted ? "Predicted" : "Label", (i) => data.labels[i], named],
  data.given && ["In the file", (i) => data.given[i], named],
  data.confidence && ["Confidence", (i) => data.confidence[i], number],
  data.stability && ["Stability", (i) => data.stability[i], number],
  data.rate && ["Rate (Hz)", (i) => data.rate[i], significant],
  data.windows && ["Windows", (i) => data.windows[i], (value) => number(value, 0)],
].filter(Boolean);

function buildTable() {
  const heads = columns.map(([name, , format]) =>
    make("th", { scope: "col", class: format === named ? "text" : "" }, name));
  get("units").tHead.append(make("tr", {}, ...heads));
  for (const i of units) {
    const cells = columns.map(([, value, format], place) => {
      const raw = value(i);
      const cell = make(place ? "td" : "th", { "data-value": raw ?? "" });
      if (place === 0) {
        cell.setAttribute("scope", "row");
        cell.append(button(make("bdi", {}, raw), (event) => open(i, event.currentTarget, true),
          { "aria-label": `Unit ${raw}: show its card` }));
      } else if (format === named) {
        cell.className = "text";
        cell.title = raw;
        cell.append(make("bdi", {}, named(raw)));
      } else cell.append(format(raw));
      return cell;
    });
    rows.push(make("tr", {}, ...cells));
  }
  get("units").tBodies[0].append(...rows);
}
function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const name = head.textContent;
    head.replaceChildren(button(name, () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const read = (row) => row.cells[place].dataset.value;
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => {
        const [one, other] = [read(a), read(b)];
        if (one === "" || other === "") return (one === "") - (other === "");  // last either way
        const both = Number(one) - Number(other);
        return (up ? 1 : -1) * (Number.isNaN(both) ? order.compare(one, other) : both);
      }));
    }));
  });
}
