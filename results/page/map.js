// The accuracy map: the index of a sweep's runs. A table of buttons a panel, one tab stop, arrow keys.
"use strict";

(() => {
  const { el } = plumbline;
  const cellWidths = (columns) => [columns.length > 10 ? 28 : 33, 84]; // the least and the greatest
  const LETTERS = [12, 14]; // the sizes of a map's letters, as style.css has them
  const LARGE = 46; // cells so wide have larger letters
  const nameWidth = (rows) => Math.min(14, plumbline.widest(rows) + 0.8); // in heights of a letter

  /** The width that the map of a sweep can use, at most four panels beside each other. */
  plumbline.mapWidth = ({ axes: { activation, init, layers } }) =>
    Math.round(Math.min(activation.length, 4) * (nameWidth(init) * LETTERS[1] + layers.length * cellWidths(layers)[1] + GAP));
  const [GAP, PADDING] = [18, 6]; // of panels, pixels

  /** What a map can show of its cells: { name: { title, of(rows, sweep), scale: [low, high] or null } } */
  plumbline.mapQuantities = (sweep) => {
    const mean = (column) => (rows) =>
      plumbline.mean(rows.map((row) => (typeof row[column] === "number" ? row[column] : null)));
    const quantities = {
      final_test_acc: { title: "test accuracy at the end", of: mean("final_test_acc"), domain: [0, 1] },
      final_train_acc: { title: "train accuracy at the end", of: mean("final_train_acc"), domain: [0, 1] },
      best_test_acc: { title: "best test accuracy", of: mean("best_test_acc"), domain: [0, 1] },
      learned: {
        title: "share of seeds that learned",
        of: (rows) => plumbline.mean(rows.map((row) => Number(Boolean(row.learned)))),
        domain: [0, 1],
      },
      epochs_to_95: { title: "epochs to 95 % of the own peak", of: mean("epochs_to_95"), domain: null },
      left_plateau: { title: "epoch that left the plateau", of: mean("left_plateau"), domain: null },
    };
    if (sweep.forecast) {
      quantities.forecast = {
        title: `forecast: probability of leaving its plateau${sweep.forecast.fitted ? " (fitted on these runs)" : ""}`,
        of: (rows) => plumbline.mean(rows.map((row) => sweep.forecast.probability?.[row.index] ?? null)),
        domain: [0, 1],
      };
    }
    return Object.fromEntries(
      Object.entries(quantities).filter(([name]) => name === "forecast" || sweep.columns.includes(name)),
    );
  };

  /**
   * Maps of cells, a panel an activation.
   *
   * panels  names; rows: names of inits; columns: depths
   * cell    (panel, row, column) -> { value, label, mark } or null where there is none
   * scale   value -> colour; text: value -> what stands in the cell
   */
  plumbline.cellMap = ({ title, panels, rows, columns, cell, scale, text, open }) => {
    const tables = panels.map((panel) =>
      el(
        "div",
        { class: "panel" },
        el(
          "table",
          { class: "map" },
          el("caption", {}, panel),
          el("colgroup", {}, el("col", { class: "names" }), el("col", { span: columns.length })),
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              el("td", {}),
              columns.map((column) => el("th", { scope: "col" }, String(column))),
            ),
          ),
          el(
            "tbody",
            {},
            rows.map((row) =>
              el(
                "tr",
                {},
                el("th", { scope: "row", title: row }, row),
                columns.map((column) => el("td", {}, button(panel, row, column))),
              ),
            ),
          ),
        ),
      ),
    );
    const region = el(
      "div",
      { class: "panels", role: "group", "aria-label": `${title}: arrow keys move between the cells, Enter opens one` },
      tables,
    );
    // as many panels beside each other as there is room for, the rows of panels equally long
    const [least, greatest] = cellWidths(columns);
    const names = nameWidth(rows);
    region.style.setProperty("--names", `${names}em`);
    for (const [name, width] of Object.entries({ least, greatest }))
      region.style.setProperty(`--${name}-cells`, `${columns.length * width}px`);
    plumbline.withWidth(region, (width) => {
      const most = Math.max(1, Math.floor((width + GAP) / (names * LETTERS[0] + columns.length * least + PADDING + GAP)));
      const perRow = Math.ceil(panels.length / Math.ceil(panels.length / most));
      region.style.gridTemplateColumns = `repeat(${perRow}, minmax(0, 1fr))`;
      const cellWidth = ((width + GAP) / perRow - GAP - PADDING - names * LETTERS[1]) / columns.length;
      region.classList.toggle("large", cellWidth >= LARGE && matchMedia("(min-width: 1900px)").matches);
    });
    const grids = tables.map((table) =>
      [...table.querySelectorAll("tbody tr")].map((line) => [...line.querySelectorAll("button")]),
    );
    stop(region.querySelector("button"));
    region.addEventListener("keydown", move);
    region.addEventListener("focusin", (event) => event.target.tagName === "BUTTON" && stop(event.target));
    region.addEventListener("click", (event) => {
      const target = event.target.closest("button");
      if (target) open(...target.where);
    });
    return region;

    function button(panel, row, column) {
      const found = cell(panel, row, column);
      const colour = found?.value == null ? null : scale(found.value);
      const element = el(
        "button",
        {
          type: "button",
          tabindex: "-1",
          class: found ? null : "empty",
          "aria-label": found?.label ?? `${panel}, ${row}, ${column} layers: no run`,
          title: found?.label ?? `${panel}, ${row}, ${column} layers: no run`,
          "data-cell": plumbline.cellName(panel, row, column),
        },
        found?.value == null ? "" : text(found.value),
        found?.mark ? el("span", { class: "mark" }, found.mark) : null,
      );
      if (colour) {
        element.style.background = colour;
        element.style.color = plumbline.inkOn(colour);
      }
      element.where = [panel, row, column];
      element.label = found?.label;
      element.makeTabStop = () => stop(element);
      return element;
    }

    function stop(target) {
      region.querySelector("button[tabindex='0']")?.setAttribute("tabindex", "-1");
      target?.setAttribute("tabindex", "0");
    }

    function move(event) {
      const [panel, row, column] = event.target.where ?? [];
      if (panel === undefined) return;
      let [p, r, c] = [panels.indexOf(panel), rows.indexOf(row), columns.indexOf(column)];
      const last = columns.length - 1;
      if (event.key === "ArrowRight") c < last ? c++ : p < panels.length - 1 && (p++, (c = 0));
      else if (event.key === "ArrowLeft") c > 0 ? c-- : p > 0 && (p--, (c = last));
      else if (event.key === "ArrowDown") r = Math.min(r + 1, rows.length - 1);
      else if (event.key === "ArrowUp") r = Math.max(r - 1, 0);
      else if (event.key === "PageDown") p = Math.min(p + 1, panels.length - 1);
      else if (event.key === "PageUp") p = Math.max(p - 1, 0);
      else if (event.key === "Home") c = 0;
      else if (event.key === "End") c = last;
      else return;
      event.preventDefault();
      grids[p][r][c].focus();
    }
  };

  /** What a map shows of the cells of a sweep: { title, domain, cells, values }, both by the cells' names. */
  plumbline.mapValues = (sweep, quantity, settings = {}) => {
    const { title, of, domain } =
      plumbline.mapQuantities(sweep)[quantity] ?? plumbline.mapQuantities(sweep).final_test_acc;
    const cells = plumbline.cells(plumbline.atSettings(sweep, settings));
    return { title, domain, cells, values: new Map([...cells].map(([name, runs]) => [name, of(runs, sweep)])) };
  };

  /** From where to where the colours of one map go, or of several that share them. */
  plumbline.mapExtent = (...maps) => {
    const known = maps.flatMap(({ values }) => [...values.values()]).filter((value) => value != null);
    return maps[0].domain ?? (known.length ? d3.extent(known) : [0, 1]);
  };

  /** The map of a sweep at one of its settings. panels, rows and columns: other ones; extent: of its colours. */
  plumbline.sweepMap = (sweep, { quantity, settings, open, panels, rows: inits, columns, extent: shared }) => {
    const { title, domain, cells, values } = plumbline.mapValues(sweep, quantity, settings);
    const extent = shared ?? plumbline.mapExtent({ domain, values });
    const scale = d3.scaleSequential(extent, d3.interpolateCividis);
    const cell = (activation, init, layers) => {
      const name = plumbline.cellName(activation, init, layers);
      const runs = cells.get(name);
      if (!runs) return null;
      const value = values.get(name);
      return {
        value,
        mark: marks(runs),
        label:
          `${activation}, ${init}, ${layers} layers: ` +
          `${title} ${value == null ? "unknown" : plumbline.number(value)}, ${words(runs)}`,
      };
    };
    const region = plumbline.cellMap({
      title: `Map of ${title}`,
      panels: panels ?? sweep.axes.activation,
      rows: inits ?? sweep.axes.init,
      columns: columns ?? sweep.axes.layers,
      cell,
      scale,
      text: (value) => short(value, extent),
      open: open ?? (() => {}),
    });
    return { region, scale, title, extent, domain, cells, values };
  };

  /** Hatch those cells of a map that hold none of these runs, which the table's filters leave; null hatches none. */
  plumbline.fade = (place, runs) => {
    const left = runs && new Set(runs.map((row) => plumbline.cellName(row.activation, row.init, row.layers)));
    place.classList.toggle("filtering", Boolean(left));
    for (const button of place.querySelectorAll(".map button")) {
      const out = Boolean(left) && !left.has(button.dataset.cell);
      if (out === button.classList.contains("faded")) continue;
      button.classList.toggle("faded", out);
      if (!button.label) continue;
      button.title = button.label + (out ? "; filtered out" : "");
      button.setAttribute("aria-label", button.title);
    }
  };

  /** Mark one cell of a map, the one whose run is open. */
  plumbline.markCell = (place, name) => {
    for (const button of place.querySelectorAll(".map button[aria-current]")) button.removeAttribute("aria-current");
    const button = name && [...place.querySelectorAll(".map button")].find((other) => other.dataset.cell === name);
    if (!button) return;
    button.setAttribute("aria-current", "true");
    if (!place.contains(document.activeElement)) button.makeTabStop();
  };

  const short = (value, [, high]) =>
    high <= 1
      ? plumbline.twoDigits(value).replace(/^0\./, ".").replace("1.00", "1.0")
      : plumbline.number(Number(value.toPrecision(2)));
  plumbline.shortValue = short;

  /** How many runs of a cell diverged or crashed, as it stands in the cell. */
  function marks(runs) {
    const [diverged, crashed] = ["diverged", "crashed"].map(
      (what) => runs.filter((row) => row.outcome === what).length,
    );
    return [
      diverged && `×${diverged < runs.length ? diverged : ""}`,
      crashed && `↓${crashed < runs.length ? crashed : ""}`,
    ]
      .filter(Boolean)
      .join("");
  }

  function words(runs) {
    const seeds = runs.length === 1 ? "1 run" : `${runs.length} runs`;
    const counts = d3.rollups(
      runs,
      (some) => some.length,
      (row) => row.outcome,
    );
    return `${seeds}: ${counts.map(([what, count]) => `${count} ${what}`).join(", ")}`;
  }

  /** The runs of a sweep at the chosen values of those settings of which it has several. */
  plumbline.atSettings = (sweep, settings) =>
    sweep.several.length
      ? sweep.rows.filter((row) =>
          sweep.several.every((name) => String(row[name]) === String(settings[name] ?? sweep.axes[name][0])),
        )
      : sweep.rows;

  /** The colours of a map and what its marks mean. */
  plumbline.mapLegend = (scale, extent, title, marks = true) => {
    const steps = d3.range(0, 1.0001, 0.05).map((share) => scale(extent[0] + share * (extent[1] - extent[0])));
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.background = `linear-gradient(to right, ${steps.join(", ")})`;
    return el(
      "p",
      { class: "note legend-line" },
      el("span", {}, `${title}: ${plumbline.number(extent[0])} `),
      bar,
      el("span", {}, ` ${plumbline.number(extent[1])}`),
      marks ? el("span", {}, "× diverged, ↓ crashed; ×1: one of the seeds did") : null,
      marks ? el("span", { class: "key-filtered" }, el("span", { class: "hatch" }), " filtered out") : null,
    );
  };

  /** The map as one SVG, to be saved; at: other panels, rows and columns than all of the sweep. */
  plumbline.mapPicture = (sweep, { scale, title, extent, cells, values }, heading, at = {}) =>
    plumbline.cellPicture({
      panels: at.panels ?? sweep.axes.activation,
      rows: at.rows ?? sweep.axes.init,
      columns: at.columns ?? sweep.axes.layers,
      values,
      scale,
      text: (value, name) => (value == null ? "" : short(value, extent)) + marks(cells.get(name)),
      heading: `${heading}: ${title}`,
    });

  /** Maps of cells as one SVG. values: { name of a cell: its value }, text: (value, name) -> what stands in the cell */
  plumbline.cellPicture = ({ panels, rows, columns, values, scale, text, heading }) => {
    const data = d3.cross(d3.cross(panels, rows), columns, ([activation, init], layers) => {
      const name = plumbline.cellName(activation, init, layers);
      return { activation, init, layers: String(layers), name, value: values.get(name) };
    }).filter(({ name }) => values.has(name));
    const at = { fx: "activation", x: "layers", y: "init" };
    const fill = ({ value }) => (value == null ? "#ddd" : scale(value));
    const plot = Plot.plot({
      width: 130 + panels.length * Math.max(120, 44 * columns.length),
      height: 70 + 28 * rows.length,
      marginLeft: 120,
      fx: { domain: panels, label: null },
      x: { domain: columns.map(String), label: "hidden layers" },
      y: { domain: rows, label: null },
      marks: [
        Plot.cell(data, { ...at, fill, inset: 0.5 }),
        Plot.text(data, {
          ...at,
          text: ({ value, name }) => text(value, name),
          fill: (d) => plumbline.inkOn(fill(d)),
        }),
      ],
    });
    return plumbline.wholePicture(plot, heading);
  };
})();
