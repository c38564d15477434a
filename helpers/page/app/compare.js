// Up to eight runs, from any studies, in one pair of axes; below them what each is and what came of it.
"use strict";

(() => {
  const { el, state } = plumbline;

  plumbline.MOST_COMPARED = 8;
  plumbline.compared = () => state.list("compare");
  plumbline.compare = (items) => state.set({ compare: items.slice(0, plumbline.MOST_COMPARED) });
  plumbline.itemOf = (sweep, row) => `${sweep.key}:${row.run}`;

  /** The sweep and the run that an item of the address names; a sentence where there are none. */
  async function find(item) {
    const entry = plumbline.allSweeps().find(({ key }) => item.startsWith(`${key}:`));
    if (!entry) return { item, lack: `There is no sweep to ${item} here.` };
    const name = item.slice(entry.key.length + 1);
    try {
      const sweep = await plumbline.loadSweep(entry);
      const row = sweep.byRun.get(name);
      return row
        ? { item, sweep, row, study: entry.study }
        : { item, lack: `There is no run ${name} in ${entry.name}.` };
    } catch (error) {
      return { item, lack: error.message };
    }
  }

  const NAMED = [
    "run",
    "activation",
    "init",
    "layers",
    "seed",
    "outcome",
    "learned",
    "crashed",
    "diverged",
    ...plumbline.SETTINGS,
  ];

  const placeOf = (study, sweep, row) =>
    state.place({
      study: study.key,
      sweep: sweep.key,
      run: row.run,
      ...Object.fromEntries(sweep.several.map((name) => [name, row[name]])),
    });

  /** Load what is compared; returns a function that draws it. */
  plumbline.showCompare = async (host) => {
    const items = plumbline.compared();
    const found = await Promise.all(items.map(find));
    const runs = found.filter(({ row }) => row);
    const names = runs.map(({ sweep, row, study }, i) =>
      [
        `${i + 1} ${study.key === sweep.name ? "" : `${study.key}, `}${sweep.name}: ${row.activation}`,
        row.init,
        `${row.layers} layers`,
        ...(state.get("band") === "1" ? [] : [`seed ${row.seed}`]),
        ...sweep.several.map((name) => `${plumbline.label(name)} ${row[name]}`),
      ].join(", "),
    );
    const band = state.get("band") === "1";
    const quantity = state.get("quantity") === "train" ? "train" : state.get("quantity") === "both" ? "both" : "test";
    return () => {
      host.append(el("h1", {}, "Runs side by side"));
      for (const { lack } of found) if (lack) host.append(plumbline.sentence(lack));
      if (!runs.length) {
        host.append(
          plumbline.sentence(
            'No run is chosen yet: open a run in a sweep and press "Compare this run"; ' +
              `up to ${plumbline.MOST_COMPARED} stand side by side.`,
          ),
        );
        return;
      }
      host.append(
        el(
          "div",
          { class: "controls" },
          plumbline.select(
            "curves of",
            quantity,
            [
              ["test", "the test set"],
              ["train", "the training set"],
              ["both", "both"],
            ],
            (value) => state.set({ quantity: value === "test" ? null : value }),
            "quantity",
          ),
          plumbline.checkbox(
            "mean and range of all seeds of each",
            band,
            (on) => state.set({ band: on ? "1" : null }),
            "band",
          ),
          plumbline.button(
            "CSV of these runs",
            () => plumbline.save("comparison.csv", plumbline.runsCsv(runs), "text/csv"),
            { id: "compare-csv" },
          ),
          plumbline.button("Take all away", () => state.set({ compare: null }), { id: "compare-none" }),
        ),
      );
      const plots = el("div", { class: "charts two" });
      const parts = quantity === "both" ? ["train", "test"] : [quantity];
      for (const [measure, title] of [
        ["loss", "Loss"],
        ["acc", "Accuracy"],
      ]) {
        const lines = runs.flatMap(({ sweep, row }, i) =>
          parts.map((part) => ({
            name: `${names[i]}${parts.length > 1 ? `, ${part}` : ""}`,
            colour: plumbline.colour(i),
            dash: parts.length > 1 ? (part === "test" ? "6 3" : null) : plumbline.dash(i),
            mark: part === parts.at(-1) ? String(i + 1) : null,
            ...plumbline.curveOf(sweep, band ? plumbline.seedsOf(sweep, row) : [row], `${part}_${measure}`),
          })),
        );
        plots.append(
          plumbline.lineChart({
            title: `${title}${parts.length > 1 ? "" : ` on the ${parts[0] === "test" ? "test" : "training"} set`}`,
            file: `comparison_${measure}`,
            x: "epoch",
            lines,
            height: 320,
            log: measure === "loss" ? "auto" : false,
            domain: measure === "acc" ? [0, 1] : undefined,
          }),
        );
      }
      host.append(plots, table(), layers());
      host.append(plumbline.layerMaps(runs.map((run, i) => ({ ...run, name: names[i] }))));
    };

    /** A column a run: what it is, and what came of it. */
    function table() {
      const line = (name, of) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, name),
          runs.map((run) => el("td", {}, of(run))),
        );
      const setting =
        (name) =>
        ({ sweep, row }) =>
          plumbline.shown(plumbline.settingOf(sweep, row, name));
      const measured = plumbline
        .unique(runs.flatMap(({ sweep }) => sweep.columns))
        .filter((name) => !NAMED.includes(name));
      return el(
        "div",
        { class: "wide", tabindex: "0", role: "region", "aria-label": "What each run is, and what came of it" },
        el(
          "table",
          { class: "compare-table" },
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              el("td", {}),
              runs.map(({ sweep, row, study }, i) =>
                el(
                  "th",
                  { scope: "col" },
                  plumbline.swatch({ colour: plumbline.colour(i), dash: plumbline.dash(i) }),
                  ` ${i + 1} `,
                  el("a", { href: placeOf(study, sweep, row) }, row.run),
                ),
              ),
            ),
          ),
          el(
            "tbody",
            {},
            line("", ({ item, row }) =>
              plumbline.button("Take away", () => plumbline.compare(items.filter((other) => other !== item)), {
                "aria-label": `Take ${row.run} away`,
              }),
            ),
            line("study", ({ study, sweep }) => (study.key === sweep.name ? study.key : `${study.key}, ${sweep.name}`)),
            line("data set", ({ sweep }) => sweep.dataset ?? ""),
            ["lr", "batch_size", "hidden_size", "optimizer"].map((name) => line(plumbline.label(name), setting(name))),
            line("epochs", ({ sweep }) => String(sweep.config?.num_epochs ?? "")),
            ["activation", "init", "layers", "seed", "outcome"].map((name) =>
              line(plumbline.label(name), setting(name)),
            ),
            measured.map((name) =>
              line(plumbline.label(name), ({ row }) => (plumbline.known(row, name))),
            ),
          ),
        ),
      );
    }

    function layers() {
      const withLayers = runs.filter(({ sweep, row }) => plumbline.profiles(sweep, "act_std", row));
      if (!withLayers.length) return "";
      const epochs = [...new Set(withLayers.flatMap(({ sweep }) => sweep.layers.epochs))].sort(d3.ascending);
      const epoch = epochs.includes(Number(state.get("epoch"))) ? Number(state.get("epoch")) : 0;
      const lines = (name) =>
        runs.flatMap(({ sweep, row }, i) => {
          const y = plumbline.profiles(sweep, name, row)?.[sweep.layers.epochs.indexOf(epoch)];
          return y
            ? [
                {
                  name: names[i],
                  colour: plumbline.colour(i),
                  dash: plumbline.dash(i),
                  mark: String(i + 1),
                  x: d3.range(y.length),
                  y,
                },
              ]
            : [];
        });
      return el(
        "section",
        {},
        el("h2", {}, "Layer by layer"),
        el(
          "div",
          { class: "controls" },
          plumbline.select("epoch", epoch, epochs, (value) => state.set({ epoch: value || null }, true), "epoch"),
        ),
        el(
          "div",
          { class: "charts two" },
          ["pre_std", "grad_norm"].map((name) =>
            plumbline.lineChart({
              title: `${plumbline.STATISTICS[name]}, epoch ${epoch}`,
              file: `comparison_${name}`,
              x: "layer",
              lines: lines(name),
              height: 280,
            }),
          ),
        ),
      );
    }
  };
})();
