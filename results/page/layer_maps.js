// What layers hold over epochs, as maps of colours: a quantity of one run, or of several runs side by side.
"use strict";

(() => {
  const { el, state } = plumbline;

  /** A statistic of a run at the epochs that are kept: { epochs, values }, layer by layer from the input; null without a log. */
  function numbersOf(sweep, row, name) {
    const profiles = plumbline.profiles(sweep, name, row);
    if (!profiles?.some(Boolean)) return null;
    const values = d3.range(row.layers).flatMap((layer) => profiles.map((layers) => layers?.[layer] ?? NaN));
    return { epochs: sweep.layers.epochs, values };
  }

  /** Whether layers are kept of all epochs. */
  plumbline.keepsAll = (sweep) => sweep.layers.epochs.length > (sweep.config?.num_epochs ?? sweep.layers.epochs.at(-1));

  /** What colours mean in the maps of some values: one scale for all of them. */
  function colouring(values) {
    const known = values.filter(Number.isFinite);
    if (known.some((value) => value < 0)) {
      const most = d3.max(known, Math.abs);
      return { log: false, domain: [-most, most], colours: "both" }; // 0 in the middle
    }
    const log = plumbline.isLog(known);
    const drawn = log ? known.filter((value) => value > 0) : known;
    return { log, domain: drawn.length ? d3.extent(drawn) : undefined, colours: "viridis" };
  }

  /** One map. `shared`: the `colouring` of several maps. */
  function map({ sweep, row, title }, name, id, shared) {
    const { epochs, values } = numbersOf(sweep, row, name);
    return plumbline.heatMap({
      id,
      title,
      heading: `${plumbline.nameOfRun(sweep, row)}. ${plumbline.STATISTICS[name]}`,
      file: `${row.run}_${name}_map`,
      x: { label: plumbline.keepsAll(sweep) ? "epoch" : "epoch (those kept)", values: epochs },
      y: { label: "layer", values: d3.range(row.layers) },
      values,
      label: plumbline.STATISTICS[name],
      ...(shared ?? colouring(values)),
      zero: "underflowed or switched off",
    });
  }

  /** Say which epochs the columns are where they are not all there were. */
  function kept(sweeps) {
    const some = sweeps.filter((sweep) => !plumbline.keepsAll(sweep)).map(({ layers }) => layers.epochs);
    if (!some.length) return "";
    const texts = plumbline.unique(some.map((epochs) => `${epochs.slice(0, -1).join(", ")} and ${epochs.at(-1)}`));
    return el(
      "p",
      { class: "note" },
      `This page keeps layers at epochs ${texts.join(", or ")}: a column each, equally wide. The full logs have every epoch.`,
    );
  }

  /** The statistics that some of the runs have, and the one that is chosen. */
  function choice(runs) {
    const names = Object.keys(plumbline.STATISTICS).filter((name) =>
      runs.some(({ sweep, row }) => numbersOf(sweep, row, name)),
    );
    return { names, name: plumbline.chosen(state.get("maps"), names, "grad_norm") };
  }

  const chooser = ({ names, name }) =>
    el(
      "div",
      { class: "controls" },
      plumbline.select(
        "colour",
        name,
        names.map((one) => [one, plumbline.STATISTICS[one]]),
        (value) => state.set({ maps: value === "grad_norm" ? null : value }, true),
        "maps-of",
      ),
    );

  /** The map of one run. */
  plumbline.runMap = (sweep, row, alone = "") => {
    const { names, name } = choice([{ sweep, row }]);
    if (!names.length) return "";
    return el(
      "section",
      { "aria-label": "Over epochs and layers" },
      el("h3", {}, `Over epochs and layers${alone}`),
      chooser({ names, name }),
      kept([sweep]),
      map({ sweep, row, title: plumbline.STATISTICS[name] }, name, "run-map"),
    );
  };

  /** One quantity of several runs side by side, in the same colours. runs: [{ sweep, row, name }] */
  plumbline.layerMaps = (runs) => {
    const { names, name } = choice(runs);
    if (!names.length) return "";
    const there = runs.filter(({ sweep, row }) => numbersOf(sweep, row, name));
    const shared = colouring(there.flatMap(({ sweep, row }) => numbersOf(sweep, row, name).values));
    const lost = runs.length - there.length;
    return el(
      "section",
      { "aria-label": "Over epochs and layers" },
      el("h2", {}, "Over epochs and layers"),
      chooser({ names, name }),
      el("p", { class: "note" }, "All maps have the same colours."),
      kept(there.map(({ sweep }) => sweep)),
      el(
        "div",
        { class: "charts" },
        there.map((run, i) => map({ ...run, title: run.name }, name, `compare-map-${i}`, shared)),
      ),
      lost ? el("p", { class: "note" }, `Of ${plumbline.counted(lost, "run")} no layers were kept.`) : "",
    );
  };
})();
