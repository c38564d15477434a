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
      const common = (axis) => sides[0].sweep.axes[axis].filter((value) => sides[1].sweep.axes[axis].includes(value));
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
      const maps = sides.map(({ sweep, settings, entry }) =>
        plumbline.sweepMap(sweep, {
          quantity,
          settings,
          panels,
          rows,
          columns,
          open: (...cell) => open(entry, sweep, settings, cell),
        }),
      );
      const three = el("div", { class: "three-maps" });
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
      three.append(difference(maps, { panels, rows, columns }, sides));
    };
  };

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

  function difference(maps, { panels, rows, columns }, sides) {
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
    const signed = (value) =>
      Math.abs(value) < 0.005 && most <= 1
        ? "0"
        : `${value > 0 ? "+" : "−"}${plumbline.shortValue(Math.abs(value), [0, most])}`;
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
    return el(
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
  }

  function open(entry, sweep, settings, [activation, init, layers]) {
    const row = plumbline
      .atSettings(sweep, settings)
      .find((one) => one.activation === activation && one.init === init && one.layers === layers);
    if (row) location.hash = state.place({ study: entry.study.key, sweep: sweep.key, run: row.run, ...settings });
  }
})();
