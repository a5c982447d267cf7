// What stands in the page's data, how elements are made, and how labels look.
// All text comes from files: it becomes text nodes and attributes, never HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
const units = data.ids.map((_, i) => i);
const order = new Intl.Collator(undefined, { numeric: true });
const UNKNOWN = "unknown";
const classOf = new Map(data.classes.map((one, i) => [one.name, i]));
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((one) => one !== null));
  return element;
}
const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const button = (text, act, attributes = {}) => {
  const made = make("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
};
const number = (value, digits = 2) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);
const significant = (value) =>
  value === null || value === undefined ? "–" : String(Number(value.toPrecision(3))).replace("-", "−");


// A colour and a shape for each label.
const star = Array.from({ length: 10 }, (_, k) => {
  const [r, angle] = [k % 2 ? 0.58 : 1.4, (k * Math.PI) / 5];
  return `${(r * Math.sin(angle)).toFixed(2)},${(-r * Math.cos(angle)).toFixed(2)}`;
});
const SHAPES = {
  "o": "M-1,0a1,1 0 1,0 2,0a1,1 0 1,0 -2,0Z",
  "^": "M0,-1.3L1.15,.8H-1.15Z",
  "s": "M-.9,-.9H.9V.9H-.9Z",
  "D": "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
  "v": "M0,1.3L1.15,-.8H-1.15Z",
  "P": "M-.42,-1.2H.42V-.42H1.2V.42H.42V1.2H-.42V.42H-1.2V-.42H-.42Z",
  "X": "M0,-.57L.57,-1.14L1.14,-.57L.57,0L1.14,.57L.57,1.14L0,.57L-.57,1.14L-1.14,.57" +
    "L-.57,0L-1.14,-.57L-.57,-1.14Z",
  "*": `M${star.join("L")}Z`,
};
const labelOf = (i) => (data.labels === null ? null : data.labels[i]);
const named = (label) => (label === "" ? "no label" : label);

function look(label) {
  if (label === null) return { shape: SHAPES.o, colour: data.colour, kind: "" };
  const place = classOf.get(label);
  if (place === undefined) {
    return { shape: SHAPES.o, colour: "", kind: label === UNKNOWN ? "hollow" : "faint" };
  }
  const { marker, colour } = data.classes[place];
  return { shape: SHAPES[marker], colour, kind: "" };
}
function symbol(label, base, attributes = {}) {
  const { shape, colour, kind } = look(label);
  const path = draw("path", { ...attributes, d: shape, class: `${base} ${kind}` });
  if (colour) path.style.setProperty("--c", colour);
  return path;
}
const swatch = (label) => draw(
  "svg", { class: "look", viewBox: "-1.6 -1.6 3.2 3.2", "aria-hidden": "true" },
  symbol(label, "look"),
);
