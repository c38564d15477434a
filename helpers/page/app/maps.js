// Two sweeps' maps side by side, and their difference where both have the cell.
"use strict";

(() => {
  const { el, state } = plumbline;

  /** A sweep to stand beside another: the next study's, on other data where there is one. */
  plumbline.otherSweep = (key) => {
    const all = plumbline.allSweeps();
    const one = all.find((sweep) => sweep.key === key);
    const others = all.filter((sweep) => sweep.key !== key);
    return (others.find((sweep) => one && sweep.dataset !== one.dataset && sweep.runs === one.runs) ?? others[0])?.key;
  };

  const SIDES = ["a", "b"];

  /** Load both sweeps; returns a function that draws them. */
  plumbline.showMaps = async (host) => {
    const all = plumbline.allSweeps();
    const first = state.get("a") ?? all[0]?.key;
    const keys = [first, state.get("b") ?? plumbline.otherSweep(first)];
    const loaded = await Promise.all(
      keys.map(async (key) => {
        const entry = plumbline.findSweep(key);
        if (!entry) return { lack: `There is no sweep ${key} here.` };
        try {
          return { entry, sweep: await plumbline.loadSweep(entry) };
        } catch (error) {
          return { entry, lack: error.message };
        }
      }),
    );
    return () => {
      host.append(el("h1", {}, "Two maps and their difference"));
      const options = all.map((sweep) => [sweep.key, nameOf(sweep)]);
      const whole = loaded.every(({ sweep }) => sweep);
      const quantities = whole ? plumbline.mapQuantities(loaded[0].sweep) : {};
      const quantity =
        quantities[state.get("map")] && plumbline.mapQuantities(loaded[1].sweep)[state.get("map")]
          ? state.get("map")
          : "final_test_acc";
      host.append(
        el(
          "div",
          { class: "controls" },
          SIDES.map((side, i) =>
            plumbline.select(
              `map ${side.toUpperCase()}`,
              keys[i],
              options,
              (key) => state.set({ [side]: key }),
              `map-${side}`,
            ),
          ),
          plumbline.button("Swap", () => state.set({ a: keys[1], b: keys[0] }), { id: "swap" }),
          whole
            ? plumbline.select(
                "map of",
                quantity,
                Object.entries(quantities).map(([name, { title }]) => [name, title]),
                (name) => state.set({ map: name }),
                "map-of",
              )
            : null,
        ),
      );
      for (const { lack } of loaded) if (lack) host.append(plumbline.sentence(lack));
      if (!whole) return;
      const sides = SIDES.map((side, i) => {
        const { sweep, entry } = loaded[i];
        const settings = Object.fromEntries(
          sweep.several.map((name) => [name, state.get(`${side}.${name}`) ?? String(sweep.axes[name][0])]),
        );
        return { side, sweep, entry, settings };
      });
      const valuesOf = (axis) => sides.map(({ sweep }) => sweep.axes[axis]);
      const common = (axis) => valuesOf(axis)[0].filter((value) => valuesOf(axis)[1].includes(value));
      const [panels, rows, columns] = ["activation", "init", "layers"].map(common);
      if (!panels.length || !rows.length || !columns.length) {
        host.append(
          plumbline.sentence(
            `These two sweeps have no ${lacking({ activation: panels, init: rows, depth: columns })} in common; ` +
              "choose another one.",
          ),
        );
        return;
      }
      // each shows all that it has: in one order, so that a row that both have stands at one height
      const inits = plumbline.unique(valuesOf("init").flat());
      const shown = sides.map(({ sweep: { axes } }) => ({
        panels: plumbline.unique([...panels, ...axes.activation]),
        rows: inits,
        columns: axes.layers,
      }));
      const extent = plumbline.mapExtent(
        ...sides.map(({ sweep, settings }) => plumbline.mapValues(sweep, quantity, settings)),
      );
      const maps = sides.map(({ sweep, settings, entry }, i) =>
        plumbline.sweepMap(sweep, {
          quantity,
          settings,
          ...shown[i],
          extent,
          open: (...cell) => open(entry, sweep, settings, cell),
        }),
      );
      const lone = onlyInOne(valuesOf);
      if (lone) host.append(el("p", { class: "note", id: "only-in-one" }, lone));
      // sweeps of other depths have panels of other widths: in one column each, panels of one name stand side by side
      const alike = sides.every(({ sweep: { axes } }) => axes.layers.length === columns.length);
      const three = el("div", { class: alike ? "three-maps" : "three-maps one-column" });
      host.append(three);
      sides.forEach(({ side, sweep, entry, settings }, i) => {
        three.append(
          el(
            "section",
            { class: "map-side" },
            el("h2", {}, `${side.toUpperCase()}: ${nameOf(entry)}`),
            el("p", { class: "note" }, described(sweep, settings)),
            el(
              "div",
              { class: "controls" }, // also where there is nothing to choose: the maps stand at one height
              sweep.several.map((name) =>
                plumbline.select(
                  plumbline.label(name),
                  settings[name],
                  sweep.axes[name],
                  (value) => state.set({ [`${side}.${name}`]: value }),
                  `${side}-${name}`,
                ),
              ),
            ),
            plumbline.mapLegend(maps[i].scale, maps[i].extent, maps[i].title),
            maps[i].region,
          ),
        );
      });
      const gaps = difference(maps, { panels, rows: inits, columns });
      three.append(gaps.section);
      const heading = ({ side, entry, settings }) =>
        [`${side.toUpperCase()}: ${nameOf(entry)}`, ...Object.entries(settings).map(([name, value]) => `${plumbline.label(name)} ${value}`)].join(", ");
      const file = `${keys.join("_and_")}_${quantity}`;
      const saving = plumbline.pictureButtons(file, () =>
        plumbline.stacked([
          ...sides.map((side, i) => plumbline.mapPicture(side.sweep, maps[i], heading(side), shown[i])),
          gaps.picture(`A − B: ${maps[0].title}`),
        ]),
      );
      saving.append(
        plumbline.button("CSV", () => plumbline.save(`${file}.csv`, asCsv(), "text/csv"), {
          id: "maps-csv",
          "aria-label": "CSV of both maps and their difference",
        }),
      );
      plumbline.roving(saving);
      host.querySelector(".controls").append(saving);

      /** Both maps and their difference, a cell a row. */
      function asCsv() {
        const names = plumbline.unique(maps.flatMap(({ values }) => [...values.keys()]));
        return plumbline.csv(
          ["activation", "init", "layers", ...sides.map((side) => `${heading(side)}: ${quantity}`), "A - B"],
          names.map((name) => [
            ...JSON.parse(name),
            ...maps.map(({ values }) => values.get(name)),
            gaps.of(name),
          ]),
        );
      }
    };
  };

  const AXES = [
    ["activation", "activation"],
    ["init", "init"],
    ["layers", "depth"],
  ];

  /** In a sentence what only one of the two sweeps has, which their difference lacks. */
  function onlyInOne(valuesOf) {
    const of = (i) =>
      AXES.map(([axis, word]) => {
        const [mine, other] = [valuesOf(axis)[i], valuesOf(axis)[1 - i]];
        const lone = mine.filter((value) => !other.includes(value));
        return lone.length ? `${word} ${lone.join(", ")}` : "";
      })
        .filter(Boolean)
        .join("; ");
    const parts = SIDES.map((side, i) => of(i) && `only ${side.toUpperCase()} has ${of(i)}`).filter(Boolean);
    return parts.length ? `Not in the difference: ${parts.join(". And ")}.` : "";
  }

  function ramp(scale, most) {
    const steps = d3.range(-1, 1.001, 0.1).map((share) => scale(share * most));
    return el("span", {
      class: "bar",
      "aria-hidden": "true",
      style: `background: linear-gradient(to right, ${steps.join(", ")})`,
    });
  }

  const lacking = (common) => {
    const names = Object.keys(common).filter((name) => !common[name].length);
    return names.map((name, i) => (i && i === names.length - 1 ? ` and no ${name}` : i ? `, no ${name}` : name)).join("");
  };

  const nameOf = ({ study, name, dataset }) =>
    plumbline.unique([study.key === name ? name : `${study.key}, ${name}`, dataset].filter(Boolean)).join(" · ");

  function described(sweep, settings) {
    const setting = (name) => settings[name] ?? sweep.config?.[name];
    const parts = [
      `Data set ${sweep.dataset}`,
      `learning rate ${setting("lr")}`,
      `batch ${setting("batch_size")}`,
      `width ${setting("hidden_size")}`,
      `${sweep.config?.num_epochs} epochs`,
      sweep.axes.seed.length === 1 ? "one seed" : `${sweep.axes.seed.length} seeds`,
    ];
    return `${parts.join(", ")}.`;
  }

  /** The difference of two maps: { section, of(name of a cell), picture(heading) } */
  function difference(maps, { panels, rows, columns }) {
    const gap = (name) => {
      const [a, b] = maps.map((map) => map.values.get(name));
      return a == null || b == null ? null : a - b;
    };
    const gaps = panels
      .flatMap((panel) => rows.flatMap((row) => columns.map((column) => gap(plumbline.cellName(panel, row, column)))))
      .filter((value) => value != null);
    const count = (which) => gaps.filter(which).length;
    const most = d3.max(gaps, Math.abs) || 1;
    const scale = d3.scaleDiverging([most, 0, -most], d3.interpolatePuOr);
    const signed = (value) => {
      const size = plumbline.shortValue(Math.abs(value), [0, most]);
      return Number(size) === 0 ? "0" : `${value > 0 ? "+" : "−"}${size}`;
    };
    const region = plumbline.cellMap({
      title: "Map of the difference A − B",
      panels,
      rows,
      columns,
      scale,
      text: signed,
      cell: (...where) => {
        const value = gap(plumbline.cellName(...where));
        return value == null
          ? null
          : { value, label: `${where[0]}, ${where[1]}, ${where[2]} layers: A − B ${signed(value)}` };
      },
      open: () => {},
    });
    const section = el(
      "section",
      { class: "map-side" },
      el("h2", {}, "A − B"),
      el(
        "p",
        { class: "note" },
        `Of the ${maps[0].title}, in the ${gaps.length} cells that both have`,
        maps[0].domain ? `: A is higher by more than 0.05 in ${count((gap) => gap > 0.05)}, ` : ".",
        maps[0].domain ? `B in ${count((gap) => gap < -0.05)}.` : "",
      ),
      el("div", { class: "controls" }),
      el(
        "p",
        { class: "note legend-line" },
        el("span", {}, `B higher, ${signed(-most)} `),
        ramp(scale, most),
        el("span", {}, ` ${signed(most)}, A higher`),
      ),
      region,
    );
    const values = new Map(
      d3
        .cross(d3.cross(panels, rows), columns, ([panel, row], column) => plumbline.cellName(panel, row, column))
        .filter((name) => gap(name) != null)
        .map((name) => [name, gap(name)]),
    );
    const picture = (heading) =>
      plumbline.cellPicture({ panels, rows, columns, values, scale, text: signed, heading });
    return { section, of: gap, picture };
  }

  function open(entry, sweep, settings, [activation, init, layers]) {
    const row = plumbline
      .atSettings(sweep, settings)
      .find((one) => one.activation === activation && one.init === init && one.layers === layers);
    if (row) location.hash = state.place({ study: entry.study.key, sweep: sweep.key, run: row.run, ...settings });
  }
})();
