// Up to eight runs, from any studies, in one pair of axes; below them what each is and what came of it.
"use strict";

(() => {
  const { el, state } = plumbline;

  plumbline.MOST_COMPARED = 8;
  plumbline.compared = () => plumbline.unique(state.list("compare")).filter(Boolean);
  plumbline.compare = (items) => state.set({ compare: items.slice(0, plumbline.MOST_COMPARED) });
  plumbline.itemOf = (sweep, row) => `${sweep.key}:${row.run}`;

  /** The sweep and the run that an item of the address names; a sentence where there are none. */
  async function find(item) {
    const entry = plumbline.allSweeps().find(({ key }) => item.startsWith(`${key}:`));
    if (!entry) return { item, lack: `There is no sweep to "${item}" here.` };
    const name = item.slice(entry.key.length + 1);
    try {
      const sweep = await plumbline.loadSweep(entry);
      const row = sweep.byRun.get(name);
      return row
        ? { item, sweep, row, study: entry.study }
        : { item, lack: `There is no run ${name || "without a name"} in ${entry.name}.` };
    } catch (error) {
      return { item, lack: error.message };
    }
  }

  const MADE = ["lr", "batch_size", "hidden_size", "optimizer"];
  const CELL = ["activation", "init", "layers", "seed"];
  const NAMED = ["run", ...CELL, "outcome", "learned", "crashed", "diverged", "left_plateau", ...plumbline.SETTINGS, ...plumbline.FORECAST_COLUMNS];
  // of a sweep's configuration: what its runs vary, what stands in a line of its own, and what changes no number
  const LEFT_OUT = /^(layers_list|init_types|activations|seeds|dataset|num_epochs|data_dir|save_dir|device|stack_size|cluster|resume|keep_state|input_size|input_square|output_size)$|_params$/;

  const text = (value) => (Array.isArray(value) ? value.map(plumbline.shown).join(", ") : plumbline.shown(value));
  const differs = (values) => values.some((value) => value !== values[0]);
  const joint = (i, count) => (i === 0 ? "" : i === count - 1 ? " and " : ", ");

  /** Load what is compared; returns a function that draws it. */
  plumbline.showCompare = async (host) => {
    const items = plumbline.compared();
    const found = await Promise.all(items.slice(0, plumbline.MOST_COMPARED).map(find));
    const band = state.get("band") === "1";
    const runs = withoutTwice(found.filter(({ row }) => row));
    const without = (item) => plumbline.compare(plumbline.compared().filter((other) => other !== item));
    const names = runs.map(({ sweep, row, study }, i) =>
      [
        `${i + 1} ${study.key === sweep.name ? "" : `${study.key}, `}${sweep.name}: ${row.activation}`,
        row.init,
        `${row.layers} layers`,
        ...(state.get("band") === "1" ? [] : [`seed ${row.seed}`]),
        ...sweep.several.map((name) => `${plumbline.label(name)} ${row[name]}`),
      ].join(", "),
    );
    // a chart of layers shows one run each, also beside the curves of all seeds
    const alone = names.map((name, i) => (band ? `${name}, seed ${runs[i].row.seed} alone` : name));
    const quantity = state.get("quantity") === "train" ? "train" : state.get("quantity") === "both" ? "both" : "test";
    return () => {
      host.append(el("h1", {}, "Runs side by side"));
      for (const { item, lack } of found) {
        if (!lack) continue;
        const sentence = plumbline.sentence(lack);
        sentence.append(" ", plumbline.button("Take it away", () => without(item), { "aria-label": `Take ${item} away` }));
        host.append(sentence);
      }
      if (items.length > plumbline.MOST_COMPARED)
        host.append(
          plumbline.sentence(`The link names ${items.length} runs; the first ${plumbline.MOST_COMPARED} are shown.`),
        );
      if (!runs.length) {
        host.append(
          plumbline.sentence(
            'No run is chosen yet: open a run in a sweep and press "Compare this run"; ' +
              `up to ${plumbline.MOST_COMPARED} stand side by side.`,
          ),
        );
        return;
      }
      if (runs.length > 1) host.append(el("p", { class: "differ" }, difference()));
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
          plumbline.checkbox(
            "only the settings that differ",
            state.get("only") === "1",
            (on) => state.set({ only: on ? "1" : null }, true),
            "only",
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
      host.append(plumbline.layerMaps(runs.map((run, i) => ({ ...run, name: alone[i] }))));
    };

    /** With seeds as a band, runs that differ in their seed alone are one. */
    function withoutTwice(all) {
      if (!band) return all;
      const first = new Map();
      for (const run of all) {
        const [seed] = plumbline.seedsOf(run.sweep, run.row);
        const cell = plumbline.itemOf(run.sweep, seed);
        if (!first.has(cell)) first.set(cell, run);
      }
      return [...first.values()];
    }

    /** [[name, of each run its value in words]]: what made the runs. */
    function settings() {
      const named = [
        ["study", ({ study, sweep }) => (study.key === sweep.name ? study.key : `${study.key}, ${sweep.name}`)],
        ["data set", ({ sweep }) => sweep.dataset ?? ""],
        ...MADE.map((name) => [plumbline.label(name), ({ sweep, row }) => text(plumbline.settingOf(sweep, row, name))]),
        ["epochs", ({ sweep }) => text(sweep.config?.num_epochs)],
        ...CELL.map((name) => [
          plumbline.label(name),
          ({ sweep, row }) =>
            band && name === "seed"
              ? plumbline
                  .seedsOf(sweep, row)
                  .map((other) => other.seed)
                  .join(", ")
              : `${plumbline.shown(row[name])}${name === "init" ? parameters(sweep, row) : ""}`,
        ]),
      ];
      const rows = named.map(([name, of]) => [name, runs.map(of)]);
      // further settings are shown only where they differ
      const others = plumbline
        .unique(runs.flatMap(({ sweep }) => Object.keys(sweep.config ?? {})))
        .filter((name) => !LEFT_OUT.test(name) && !plumbline.SETTINGS.includes(name))
        .map((name) => [plumbline.label(name), runs.map(({ sweep }) => text(sweep.config?.[name]))])
        .filter(([, values]) => differs(values.filter(Boolean))); // an older sweep does not name all there is
      return [...rows, ...others];
    }

    function parameters(sweep, row) {
      const given = Object.entries(sweep.config?.init_params?.[row.init] ?? {}).filter(([name]) => name !== "init");
      return given.length ? ` (${given.map(([name, value]) => `${name} ${value}`).join(", ")})` : "";
    }

    /** In a sentence what differs between the runs. */
    function difference() {
      const names = settings()
        .filter(([name, values]) => name !== "study" && differs(values))
        .map(([name]) => name);
      return names.length
        ? ["They differ in ", ...names.flatMap((name, i) => [joint(i, names.length), el("strong", {}, name)]), "."]
        : "Their settings are alike.";
    }

    /** [[name, of each run its value]]: what was forecast before the first step, each beside what was measured. */
    function forecasts() {
      const forecast = ({ sweep, row }, name) => sweep.forecast?.[name]?.[row.index];
      if (runs.every((run) => forecast(run, "probability") == null)) return [];
      const left = (row) =>
        row.left_plateau != null ? true : plumbline.known(row, "left_plateau") === "unknown" ? null : false;
      const right = ({ sweep }, row) => {
        const probability = sweep.forecast?.probability?.[row.index];
        return probability == null || left(row) == null ? null : probability >= 0.5 === left(row);
      };
      // yes or no; of several seeds, of how many
      const said = (of, yes = "yes", no = "no") => (run) => {
        const known = (band ? plumbline.seedsOf(run.sweep, run.row) : [run.row])
          .map((row) => of(run, row))
          .filter((value) => value != null);
        if (!known.length) return "unknown";
        const count = known.filter(Boolean).length;
        return known.length > 1 ? `${count} of ${known.length}` : count ? yes : no;
      };
      const fitted = (run) => (run.sweep.forecast?.fitted && forecast(run, "probability") != null ? plumbline.FITTED : "");
      const rows = [
        ...(runs.some(fitted) ? [["forecast", fitted]] : []),
        ["forecast: probability that it leaves the plateau", (run) => text(forecast(run, "probability") ?? "no forecast")],
        ["measured: it left the plateau", said((_, row) => left(row))],
        ["was the forecast right?", said(right, "✓ yes", "✗ no")],
        ["forecast: the epoch in which it leaves", (run) => text(forecast(run, "epoch"))],
        ["measured: the epoch in which it left", ({ sweep, row }) => ofSeeds(sweep, row, "left_plateau")],
        ["forecast: why", (run) => text(forecast(run, "reason"))],
      ];
      return rows.map(([name, of]) => [name, runs.map(of)]);
    }

    /** [[name, of each run its value]]: with seeds as a band the mean, and the least and greatest. */
    function measured() {
      const columns = plumbline
        .unique(runs.flatMap(({ sweep }) => sweep.columns))
        .filter((name) => !NAMED.includes(name) || name === "left_plateau")
        .filter((name) => !(name === "left_plateau" && forecasts().length));
      const outcomes = runs.map(({ sweep, row }) =>
        band ? plumbline.outcomes(plumbline.seedsOf(sweep, row)) : row.outcome,
      );
      return [
        ["outcome", outcomes],
        ...columns.map((name) => [plumbline.label(name), runs.map(({ sweep, row }) => ofSeeds(sweep, row, name))]),
      ];
    }

    function ofSeeds(sweep, row, name) {
      if (!band) return plumbline.known(row, name);
      const seeds = plumbline.seedsOf(sweep, row);
      const known = seeds.map((one) => one[name]).filter((value) => typeof value === "number");
      if (!known.length) return plumbline.known(row, name);
      const short = (value) => plumbline.number(Number(value.toPrecision(3)));
      const [low, high] = d3.extent(known);
      const some = known.length < seeds.length ? `, ${known.length} of ${seeds.length} seeds` : "";
      return (low < high ? `${short(plumbline.mean(known))} (${short(low)} to ${short(high)})` : plumbline.number(low)) + some;
    }

    /** A column a run: what it is, what was forecast, and what came of it. */
    function table() {
      const only = state.get("only") === "1";
      const line = ([name, values], mark) =>
        el(
          "tr",
          { class: mark && differs(values) ? "differs" : null },
          el(
            "th",
            { scope: "row" },
            name,
            mark && differs(values) ? el("span", { "aria-hidden": "true", title: "these differ" }, " ≠") : null,
            mark && differs(values) ? el("span", { class: "unseen" }, " (differs)") : null,
          ),
          values.map((value) => el("td", {}, value)),
        );
      const part = (title, rows, mark = false) =>
        rows.length
          ? el(
              "tbody",
              {},
              el(
                "tr",
                { class: "part" },
                el("th", { scope: "rowgroup", colspan: runs.length + 1 }, el("span", {}, title)),
              ),
              rows.map((row) => line(row, mark)),
            )
          : null;
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
              runs.map(({ item, sweep, row, study }, i) =>
                el(
                  "th",
                  { scope: "col" },
                  plumbline.swatch({ colour: plumbline.colour(i), dash: plumbline.dash(i) }),
                  ` ${i + 1} `,
                  el("a", { href: plumbline.runPlace(study.key, sweep, row) }, plumbline.breakable(row.run)),
                  plumbline.button("Take away", () => without(item), { "aria-label": `Take ${row.run} away` }),
                ),
              ),
            ),
          ),
          part(
            "What made it",
            settings().filter(([, values]) => !only || differs(values)),
            true,
          ),
          part("Forecast and measured", forecasts()),
          part("What came of it", measured()),
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
                  name: alone[i],
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
