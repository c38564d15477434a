// One run: its numbers, curves, layer profiles with theory over them, settings and origin.
"use strict";

(() => {
  const { el, state } = plumbline;

  plumbline.STATISTICS = {
    act_mean: "mean of activations",
    act_std: "std of activations",
    pre_std: "std of pre-activations",
    grad_norm: "gradient norm ||dL/dW||",
    grad_mean_abs: "mean |dL/dW|",
  };
  plumbline.FITTED = "fitted on these runs: that it is right about them is no test of it";
  const PREDICTED_SHAPE = "predicted shape, for infinite width; fixed at the last layer, where it is epoch 0";
  const USUAL = ["pre_std", "act_std", "grad_norm"];
  const PARTS = [
    ["train", 0, null],
    ["test", 1, "6 3"],
  ];

  plumbline.hasCurves = (sweep, row) => Boolean(sweep.curves?.train_loss?.[row.index]?.some((value) => value != null));
  const hasLayers = (sweep, row) => Boolean(plumbline.profiles(sweep, "act_std", row));

  /** A link to the full log: the run's own file, or the archive in which all logs lie packed. */
  plumbline.logLink = (sweep, row) => {
    if (!sweep.logs || !plumbline.hasCurves(sweep, row)) return null;
    if (/\.(xz|gz|bz2|zip)$/.test(sweep.logs))
      return el("a", { href: plumbline.path(sweep.logs) }, "the full logs of the sweep");
    return el("a", { href: plumbline.path(`${sweep.logs}/${row.run}.csv`) }, "the full log, with all layers");
  };

  /** A run in words, where it stands alone as over a saved picture: study, sweep, network and seed. */
  plumbline.nameOfRun = (sweep, row, seeds = [row]) =>
    [
      `${sweep.study === sweep.name ? sweep.study : `${sweep.study}, ${sweep.name}`}: ${row.activation}`,
      row.init,
      `${row.layers} layers`,
      ...sweep.several.map((name) => `${plumbline.label(name)} ${row[name]}`),
      `${seeds.length > 1 ? "seeds" : "seed"} ${seeds.map(({ seed }) => seed).join(", ")}`,
    ].join(", ");

  /** In words how often runs came to what. */
  plumbline.outcomes = (rows) =>
    d3
      .rollups(
        rows,
        (some) => some.length,
        ({ outcome }) => outcome,
      )
      .map(([what, count]) => `${count} ${what}`)
      .join(", ");

  /** Draw a run into host. */
  plumbline.showRun = (host, sweep, row) => {
    const seeds = plumbline.seedsOf(sweep, row);
    const band = state.get("band") === "1" && seeds.length > 1;
    const item = plumbline.itemOf(sweep, row);
    const compared = plumbline.compared();
    const bar = el(
      "div",
      { class: "controls", role: "toolbar", "aria-label": "This run" },
      el(
        "div",
        { class: "seeds", role: "group", "aria-label": "Seed" },
        seeds.map((other) =>
          plumbline.button(`seed ${other.seed}`, () => state.set({ run: other.run, band: null }), {
            id: `seed-${other.seed}`,
            "aria-pressed": String(!band && other === row),
          }),
        ),
        seeds.length > 1
          ? plumbline.button("all seeds", () => state.set({ band: "1" }), {
              id: "seed-all",
              "aria-pressed": String(band),
            })
          : null,
      ),
      compared.includes(item)
        ? plumbline.button(
            "Take from the comparison",
            () => plumbline.compare(compared.filter((other) => other !== item)),
            { id: "add" },
          )
        : plumbline.button("Compare this run", () => plumbline.compare([...compared, item]), {
            id: "add",
            disabled: compared.length >= plumbline.MOST_COMPARED,
          }),
      compared.length
        ? el("a", { href: state.place({ view: "compare" }), id: "to-compare" }, `side by side (${Math.min(compared.length, plumbline.MOST_COMPARED)})`)
        : null,
      plumbline.hasCurves(sweep, row)
        ? plumbline.button(
            `CSV of this run${band ? `, seed ${row.seed}` : ""}`,
            () => plumbline.save(`${row.run}.csv`, plumbline.runCsv(sweep, row), "text/csv"),
            { id: "run-csv" },
          )
        : null,
      plumbline.logLink(sweep, row),
    );
    host.append(
      el(
        "h2",
        { id: "run" },
        `${row.activation}, ${row.init}, ${row.layers} layers`,
        el("span", { class: "aside" }, ` ${band ? plumbline.outcomes(seeds) : row.outcome}`),
      ),
      plumbline.roving(bar),
    );
    if (plumbline.hasCurves(sweep, row)) host.append(whatTheCsvHas(sweep, row));
    const alone = band ? `, seed ${row.seed} alone` : "";
    const plots = el("div", { class: "charts" });
    host.append(plots);
    if (plumbline.hasCurves(sweep, row)) {
      for (const [quantity, title] of [
        ["loss", "Loss"],
        ["acc", "Accuracy"],
      ]) {
        plots.append(curvesChart(sweep, band ? seeds : [row], quantity, title));
      }
    } else {
      plots.append(
        plumbline.sentence(`The log of ${row.run} was not kept; its row of the table is all there is to show.`),
      );
    }
    host.append(el("div", { class: "facts" }, numbers(sweep, row, alone), settingsOf(sweep, row, alone)));
    if (hasLayers(sweep, row)) plumbline.showLayers(host, sweep, row, alone);
  };

  /** What is in the CSV of a run. */
  function whatTheCsvHas(sweep, row) {
    const epochs = sweep.layers?.epochs;
    const layers = !epochs ? "no layers" : plumbline.keepsAll(sweep) ? "all layers" : `all layers at epochs ${epochs.join(", ")}`;
    return el(
      "p",
      { class: "note", id: "csv-has" },
      `The CSV has what this page knows: loss and accuracy after every epoch, to four digits, and ${layers}${howExact(sweep, row)}. `,
      sweep.logs ? "How to get the full log stands under the configuration." : "The full log was not kept.",
    );
  }

  /** In words by how much the numbers of a run's layers may be off. */
  function howExact(sweep, row) {
    const off = Object.keys(plumbline.STATISTICS).map((name) => [name, plumbline.layersOff(sweep, name, row.index)]);
    const share = off.find(([, one]) => one?.share)?.[1].share;
    const others = off
      .filter(([, one]) => one?.most)
      .map(([name, { most }]) => `the ${plumbline.STATISTICS[name]} by up to ${plumbline.number(most)}`);
    const parts = [share ? `off by up to ${plumbline.number(Number((100 * share).toPrecision(2)))} %` : "", ...others];
    return parts.some(Boolean) ? `, which are ${parts.filter(Boolean).join(", ")}` : "";
  }

  /** The lines of Python that give all of a run's log. */
  function fullLog(sweep, row) {
    if (!sweep.logs || !plumbline.hasCurves(sweep, row)) return null;
    const [folder, run, file] = [`results/${sweep.folder}`, row.run, `${row.run}.csv`].map((text) => JSON.stringify(text));
    return [
      el("p", { class: "note" }, "The full log, with every epoch, layer and digit, in Python in the project's folder:"),
      el(
        "pre",
        { id: "full-log" },
        `from helpers import records\nlog = records.load_sweep(${folder}).history(${run})\nlog.to_csv(${file}, index=False)`,
      ),
    ];
  }

  /** A curve as a line: one run's own, or the mean of several runs with a band from the lowest to the highest. */
  plumbline.curveOf = (sweep, rows, name) => {
    const curves = rows.map((row) => sweep.curves?.[name]?.[row.index]).filter(Boolean);
    const epochs = d3.range(d3.max(curves, (curve) => curve.length) ?? 0);
    const at = (epoch) => curves.map((curve) => curve[epoch]).filter((value) => value != null);
    const line = { x: epochs, y: epochs.map((epoch) => plumbline.mean(at(epoch))) };
    return curves.length > 1
      ? {
          ...line,
          low: epochs.map((epoch) => d3.min(at(epoch)) ?? null),
          high: epochs.map((epoch) => d3.max(at(epoch)) ?? null),
        }
      : line;
  };

  function curvesChart(sweep, rows, quantity, title) {
    const lines = PARTS.map(([part, i, dash]) => ({
      name: part,
      colour: plumbline.colour(i),
      dash,
      ...plumbline.curveOf(sweep, rows, `${part}_${quantity}`),
    }));
    const chance = sweep.chance ?? null;
    const whole = rows.length > 1 ? `${title}, mean and range of ${rows.length} seeds` : title;
    return plumbline.lineChart({
      title: whole,
      heading: `${plumbline.nameOfRun(sweep, rows[0], rows)}. ${whole}`,
      file: `${rows[0].run}_${quantity}`,
      x: "epoch",
      lines,
      log: quantity === "loss" ? "auto" : false,
      domain: quantity === "acc" ? [0, 1] : undefined,
      rules:
        quantity === "acc"
          ? [
              chance === null ? null : { y: chance, name: `guessing: ${plumbline.number(chance)}` },
              sweep.mark == null
                ? null
                : { y: sweep.mark, name: `has learned from ${plumbline.number(sweep.mark)} on (train)` },
            ].filter(Boolean)
          : [],
      note: rows.some((row) => row.diverged) ? "The line ends where the loss became infinite or no number." : null,
    });
  }

  // ---- layer by layer

  plumbline.showLayers = (host, sweep, row, alone = "") => {
    const { epochs } = sweep.layers;
    const few = plumbline.few(epochs);
    const chosen = state
      .list("epochs", few.map(String))
      .map(Number)
      .filter((epoch) => epochs.includes(epoch));
    const ticked = epochs.filter((epoch) => few.includes(epoch) || chosen.includes(epoch));
    const others = epochs.filter((epoch) => !ticked.includes(epoch));
    const statistics = state.list("stats", USUAL).filter((name) => sweep.layers[name]);
    const present = Object.keys(plumbline.STATISTICS).filter((name) => sweep.layers[name]);
    const toggle = (list, value, all) =>
      all.filter((other) => (other === value ? !list.includes(value) : list.includes(other)));
    host.append(
      el("h3", {}, `Layer by layer${alone}`),
      el(
        "div",
        { class: "controls" },
        plumbline.roving(
          el(
            "fieldset",
            {},
            el("legend", {}, "epochs"),
            ticked.map((epoch) =>
              plumbline.checkbox(
                String(epoch),
                chosen.includes(epoch),
                () => state.set({ epochs: toggle(chosen, epoch, epochs).map(String) }, true),
                `epoch-${epoch}`,
              ),
            ),
          ),
        ),
        others.length
          ? plumbline.select(
              "one more",
              "",
              [["", "epoch"], ...others],
              (epoch) => state.set({ epochs: toggle(chosen, epoch, epochs).map(String) }, true),
              "one-more-epoch",
            )
          : null,
        plumbline.roving(
          el(
            "fieldset",
            {},
            el("legend", {}, "statistics"),
            present.map((name) =>
              plumbline.checkbox(
                plumbline.STATISTICS[name],
                statistics.includes(name),
                () => state.set({ stats: toggle(statistics, name, present) }, true),
                `stat-${name}`,
              ),
            ),
          ),
        ),
      ),
    );
    const plots = el("div", { class: "charts" });
    host.append(plots);
    for (const name of statistics) plots.append(layerChart(sweep, row, name, chosen));
    host.append(plumbline.runMap(sweep, row, alone));
  };

  /** Of many epochs those that a page shows first: 0, 1, 2, 5, 10 and so on, and the last. */
  plumbline.few = (epochs) => {
    const last = epochs.at(-1);
    return epochs.length < 9 ? epochs : epochs.filter((epoch) => epoch === last || /^(0|[125]0*)$/.test(epoch));
  };

  function layerChart(sweep, row, name, chosen) {
    const { epochs } = sweep.layers;
    const profiles = plumbline.profiles(sweep, name, row) ?? [];
    const lines = chosen
      .map((epoch) => ({ epoch, y: profiles[epochs.indexOf(epoch)] }))
      .filter(({ y }) => y)
      .map(({ epoch, y }) => ({
        name: `epoch ${epoch}`,
        colour: plumbline.sequence(epochs.indexOf(epoch) / Math.max(1, epochs.length - 1)),
        x: d3.range(y.length),
        y,
      }));
    const theory = plumbline.theoryOf(sweep, row, name);
    if (theory)
      lines.push({
        // theory has the gradient relative to the last layer's, where it stands on what was measured
        name: name === "grad_norm" ? PREDICTED_SHAPE : "predicted before training, for infinite width",
        colour: "currentColor",
        dash: "2 4",
        width: 2.2,
        x: d3.range(theory.length),
        y: theory,
      });
    return plumbline.lineChart({
      title: plumbline.STATISTICS[name],
      heading: `${plumbline.nameOfRun(sweep, row)}. ${plumbline.STATISTICS[name]}`,
      file: `${row.run}_${name}`,
      x: "layer",
      lines,
      log: name === "act_mean" ? false : "auto",
    });
  }

  /** What a wide network has before training, a number a layer; null where there is no theory. */
  plumbline.theoryOf = (sweep, row, name) => {
    const theory = sweep.theory?.[name]?.[sweep.theory.run?.[row.index]];
    if (!theory) return null;
    if (name !== "grad_norm") return theory;
    // relative to the last layer: it stands where that was measured before the first step
    const birth = plumbline.profiles(sweep, name, row)?.[sweep.layers.epochs.indexOf(0)];
    const top = birth?.at(-1);
    return top ? theory.map((value) => (value == null ? null : value * top)) : null;
  };

  // ---- numbers and settings

  const OF_CELL = ["run", "activation", "init", "layers", "seed", "outcome", "learned", "crashed", "diverged", ...plumbline.FORECAST_COLUMNS];

  /** alone: what says of which of several seeds it is. */
  function numbers(sweep, row, alone) {
    const forecast = sweep.forecast;
    const lines = sweep.columns
      .filter((column) => !OF_CELL.includes(column) && !plumbline.SETTINGS.includes(column))
      .map((column) => [plumbline.label(column), plumbline.known(row, column)]);
    const probability = forecast?.probability?.[row.index];
    if (probability != null) {
      if (forecast.fitted) lines.push(["forecast", plumbline.FITTED]);
      lines.push(["forecast: probability of leaving the plateau", plumbline.number(probability)]);
      if (forecast.epoch?.[row.index] != null)
        lines.push(["forecast: leaves the plateau in epoch", plumbline.number(forecast.epoch[row.index])]);
      if (forecast.reason?.[row.index]) lines.push(["forecast: why", forecast.reason[row.index]]);
    }
    return plumbline.facts(`What came of it${alone}`, lines);
  }

  function settingsOf(sweep, row, alone) {
    const setting = (name) => plumbline.settingOf(sweep, row, name);
    const config = sweep.config ?? {};
    const parameters = config.init_params?.[row.init];
    const lines = [
      ["study, sweep", `${sweep.study}, ${sweep.name}`],
      ["data set", sweep.dataset],
      ["run", row.run],
      ["init", [row.init, ...Object.entries(parameters ?? {}).map(([name, value]) => `${name} ${value}`)].join(", ")],
      ["hidden layers", `${row.layers} of width ${setting("hidden_size")}`],
      ["optimizer", `${setting("optimizer")}, learning rate ${setting("lr")}, batch ${setting("batch_size")}`],
      ["epochs", config.num_epochs],
      ["trained", sweep.origin],
    ];
    const whole = el(
      "details",
      {},
      el("summary", {}, "the whole configuration, and the full log"),
      sweep.folder
        ? el(
            "p",
            { class: "note" },
            el("a", { href: plumbline.path(`${sweep.folder}/manifest.json`) }, "manifest.json"),
            " has it with versions, machine and times.",
          )
        : null,
      fullLog(sweep, row),
      el("pre", {}, JSON.stringify(config, null, 1)),
    );
    return el(
      "div",
      {},
      plumbline.facts(
        `What made it${alone}`,
        lines.filter(([, value]) => value != null),
      ),
      whole,
    );
  }

  plumbline.facts = (title, lines) =>
    el(
      "table",
      { class: "facts-table" },
      el("caption", {}, title),
      el(
        "tbody",
        {},
        lines.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value ?? "")))),
      ),
    );
})();
