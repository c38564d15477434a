// The one global of the page: small helpers that every other script uses.
"use strict";

const plumbline = {};

/**
 * A new element: plumbline.el("p", { class: "note" }, "text", anotherElement).
 * Text stays text, also where it looks like HTML.
 */
plumbline.el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
};

/** Text in which **some words** are strong, as the studies' questions and answers are written. */
plumbline.rich = (text) =>
  String(text)
    .split("**")
    .map((part, i) => (i % 2 ? plumbline.el("strong", {}, part) : part));

/** A name that may be broken after each of its parts: trunc_normal after the line. */
plumbline.breakable = (name) =>
  String(name)
    .split(/(?<=_)/)
    .flatMap((part, i) => (i ? [plumbline.el("wbr"), part] : [part]));

/** A file's path from results/ as an address: a name may hold #, ? or %. */
plumbline.path = (file) => file.split("/").map(encodeURIComponent).join("/");

/** One sentence that says what is wrong. */
plumbline.sentence = (text) => plumbline.el("p", { class: "sentence", role: "status" }, text);

/** The child of `host` named `name`. It is drawn anew only where `key`, what it depends on, has changed. */
plumbline.piece = (host, name, key, draw) => {
  let piece = [...host.children].find((child) => child.dataset.piece === name);
  if (!piece) host.append((piece = plumbline.el("div", { "data-piece": name })));
  const text = JSON.stringify(key) ?? "";
  if (piece.drawnFrom !== text) {
    piece.drawnFrom = text;
    piece.replaceChildren();
    draw(piece);
  }
  return piece;
};

/** Draw, and give the focus back to the control that had it, which may have been drawn anew. */
plumbline.keepFocus = (draw) => {
  const id = document.activeElement?.id;
  draw();
  if (id && document.activeElement?.id !== id) document.getElementById(id)?.focus({ preventScroll: true });
};

/** A list to choose one from, with its label. options: values, or [value, text] pairs. */
plumbline.select = (label, chosen, options, choose, id = `choose-${label}`) => {
  const { el } = plumbline;
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, String(option)]));
  const select = el("select", { id: id.replaceAll(" ", "-"), onchange: () => choose(pairs[select.selectedIndex][0]) });
  for (const [value, text] of pairs) select.append(el("option", { selected: String(value) === String(chosen) }, text));
  return el("label", { class: "choice" }, el("span", {}, label), select);
};

plumbline.checkbox = (label, on, choose, id = `check-${label}`) => {
  const { el } = plumbline;
  const box = el("input", {
    type: "checkbox",
    id: id.replaceAll(" ", "-"),
    checked: on,
    onchange: () => choose(box.checked),
  });
  return el("label", { class: "check" }, box, el("span", {}, label));
};

/** One tab stop for some controls in a row, those of `items()`: the left and right arrows move between them. */
plumbline.roving = (group, items = () => [...group.querySelectorAll("button, input, a[href]")]) => {
  const stop = (item) => items().forEach((other) => other.setAttribute("tabindex", other === item ? "0" : "-1"));
  stop(items().find((item) => !item.disabled));
  group.addEventListener("focusin", (event) => items().includes(event.target) && stop(event.target));
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !items().includes(event.target)) return;
    const open = items().filter((item) => !item.disabled);
    event.preventDefault();
    open[(open.indexOf(event.target) + step + open.length) % open.length].focus();
  });
  return group;
};

plumbline.button = (text, press, attributes = {}) =>
  plumbline.el("button", { type: "button", onclick: press, ...attributes }, text);

/** The width of the widest of some texts in the page's letters, over the letters' size. */
plumbline.widest = (texts, weight = 400) => {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `${weight} 100px ${getComputedStyle(document.documentElement).fontFamily}`;
  return Math.max(0, ...texts.map((text) => pen.measureText(text).width)) / 100;
};

plumbline.unique = (values) => [...new Set(values)];

/** A number as a reader wants it: four significant digits, no more than are needed. */
plumbline.number = (value) => {
  if (value == null || Number.isNaN(value)) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0*e\+?/, "e"); // 3e-4
  return String(Number(value.toPrecision(4)));
};

const LABELS = {
  lr: "learning rate",
  hidden_size: "width",
  batch_size: "batch size",
  layers: "depth",
  epochs_to_95: "epochs to 95 % of its peak",
  left_plateau: "epoch it left the plateau",
  seconds: "seconds (share of its stack's)",
  forecast_probability: "forecast: probability",
  forecast_epoch: "forecast: epoch",
};

/** The name of a column or setting as it is written for a reader. */
plumbline.label = (name) =>
  LABELS[name] ?? name.replace(/_acc$/, "_accuracy").replaceAll("_", " ");

/**
 * The mean of what is known. Summed with Kahan's correction, as pandas does it: a mean that lies on the edge between two
 * roundings is then the same double here and in the published figures.
 */
plumbline.mean = (values) => {
  const known = values.filter((value) => value != null);
  let [sum, lost] = [0, 0];
  for (const value of known) {
    const next = sum + (value - lost);
    lost = next - sum - (value - lost);
    sum = next;
  }
  return known.length ? sum / known.length : null;
};

/** A share from 0 to 1 with two digits, rounded as Python's :.2f does: of exact halves (0.125) to the even digit. */
plumbline.twoDigits = (share) => ((share * 8) % 4 === 1 ? Math.floor(share * 100) / 100 : share).toFixed(2);

/** A number with the digits that are known where it may be off by so large a share of it. */
plumbline.asKnown = (value, share) => {
  if (!Number.isFinite(value) || value === 0) return value;
  const digits = Math.floor(Math.log10(Math.abs(value))) - Math.floor(Math.log10(Math.abs(value) * share)) + 1;
  return Number(value.toPrecision(Math.min(Math.max(digits, 1), 17)));
};

/** By how large a share numbers are off that were kept as whole steps of their log10, so many a decade. */
plumbline.shareOff = (perDecade) => 10 ** (0.5 / perDecade) - 1;

plumbline.calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
