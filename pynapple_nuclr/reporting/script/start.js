// All of it put together.

offerLabels();
buildTable();
buildKinds();
buildMap();
listenToMap();
document.querySelectorAll("table[data-sorts]").forEach(makeSortable);
get("confidence-filter").hidden = data.confidence === null;
const filters = get("filters");
filters.addEventListener("input", filter);
filters.addEventListener("submit", (event) => event.preventDefault());
get("show-all").addEventListener("click", () => {
  filters.reset();
  filter();
});
get("card").addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});
filter();
