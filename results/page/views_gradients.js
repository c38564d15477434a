// The spline study: gradients over epoch and layer, and learning curves beside them.
"use strict";

(() => {
  const { el } = plumbline;
  const STATISTICS = {
    mean_abs_gradient: { text: "mean |gradient| of weights", label: "mean |gradient| of the weights", log: true },
    norm_gradient: { text: "gradient norm of weights", label: "gradient norm of the weights", log: true },
    pre_std: { text: "deviation of pre-activations", label: "standard deviation of pre-activations", log: true },
    share_beyond: {
      text: "share in the tails",
      label: "share of pre-activations beyond the spline's limit",
      log: false,
    },
  };
  const CURVES = {
    loss_train: "training loss (nats)",
    loss_val: "validation loss (nats)",
    acc_train: "training accuracy",
    acc_val: "validation accuracy",
    worst_loss: "largest loss of a batch (nats)",
  };
  const MOST = 8;
  let open = false; // the list of experiments, which stays open while the reader ticks it
  const FIRST = ["sigmoid", "spline", "spline_control", "relu_slow", "calibrated_spline_slow"]; // the study's own question

  plumbline.views.gradients = (place, content, state, set) => {
    const all = content.experiments;
    const names = all.map(({ name }) => name);
    const asked = (state.experiments ?? FIRST.join(" ")).split(" ").filter((name) => names.includes(name));
    const shown = all.filter(({ name }) => asked.includes(name)).slice(0, MOST);
    const statistic = plumbline.chosen(state.statistic, Object.keys(STATISTICS));
    const { label, log } = STATISTICS[statistic];

    const maps = shown
      .filter(({ maps }) => maps)
      .map((one) => ({ one, values: plumbline.numbers(one.maps[statistic]), ...one.maps[statistic] }));
    const known = maps.flatMap(({ values }) => values.filter((value) => value > 0));
    const [least, greatest] = known.length ? d3.extent(known) : [1e-3, 1];
    const domain = log ? [Math.max(least, 1e-20), greatest] : [0, 1];

    place.append(
      el("p", { class: "sv-said" }, said(content, shown, maps, statistic)),
      plumbline.choosers(
        "gradients",
        [["statistic", "colour", Object.entries(STATISTICS).map(([name, { text }]) => [name, text]), statistic]],
        set,
      ),
      el(
        "details",
        { class: "sv-list", open, ontoggle: (event) => (open = event.target.open) },
        el(
          "summary",
          { id: "gradients-experiments" },
          `Experiments: ${shown.length} of ${names.length}, at most ${MOST} at a time`,
        ),
        el(
          "div",
          { class: "controls" },
          names.map((name) => {
            const on = asked.includes(name);
            const box = plumbline.checkbox(
              name,
              on,
              (now) =>
                set({
                  experiments: (now ? [...asked, name] : asked.filter((other) => other !== name)).join(" ") || "none",
                }),
              `gradients-${name}`,
            );
            box.querySelector("input").disabled = !on && shown.length >= MOST;
            return box;
          }),
        ),
      ),
    );
    if (!shown.length) {
      place.append(plumbline.sentence("No experiment is chosen; tick one above."));
      return;
    }
    place.append(
      el("h2", {}, "Over epoch and layer"),
      el(
        "div",
        { class: "charts" },
        maps.map(({ one, values, layers, epochs }) =>
          plumbline.heatMap({
            id: `gradients-map-${one.name}`,
            title: `${one.name}, seed ${one.map_seed}`,
            file: `${content.data}_${one.name}_${statistic}`,
            x: { label: "epoch", values: d3.range(epochs) },
            y: {
              label: "layer",
              values: d3.range(layers).map((layer) => (layer < one.layers ? layer : "output")),
              nice: [1, 2, 4, 8, 16],
            },
            values,
            label,
            log,
            domain,
            colours: log ? "viridis" : "magma",
            zero: "underflowed",
          }),
        ),
      ),
      maps.length < shown.length
        ? plumbline.sentence("Of some of these experiments the rows of single layers were not kept.")
        : "",
      el("h2", {}, "Learning curves"),
      el(
        "div",
        { class: "charts two" },
        Object.entries(CURVES).map(([name, text]) => plumbline.lines(curves(content, shown, name, text))),
      ),
      el("h2", {}, "Settings"),
      settings(shown),
    );
  };

  function curves(content, shown, name, text) {
    const lines = shown.map((one, i) => {
      const { mean, low, high } = plumbline.band(one.curves[name]);
      return {
        name: one.name,
        colour: plumbline.colour(i),
        dash: plumbline.dash(i),
        x: d3.range(mean.length),
        y: mean,
        low,
        high,
      };
    });
    const chance = name.startsWith("acc")
      ? { y: 1 / content.classes, name: "guessing" }
      : { y: Math.log(content.classes), name: "guessing" };
    return {
      title: text,
      x: "epoch",
      y: text,
      lines,
      rules: [chance],
      domain: name.startsWith("acc") ? [0, 1] : undefined,
      log: !name.startsWith("acc"),
      file: `${content.data}_${name}`,
    };
  }

  /** What is seen, in words: how far the gradient falls from the output to the first layer, before training and at the end. */
  function said(content, shown, maps, statistic) {
    const seeds = plumbline.unique(shown.map(({ seeds }) => seeds.length)).sort(d3.ascending);
    const over = `${content.data}: maps of the first seed; lines are means over ${seeds.join(" or ")} seeds, bands from the lowest to the highest.`;
    if (!statistic.endsWith("gradient")) return over;
    const parts = maps.map(({ one, values, layers, epochs }) => {
      const decades = (epoch) => {
        const share = values[epoch] / values[(layers - 1) * epochs + epoch];
        return share > 0 ? d3.format(".0f")(Math.log10(share)).replace("-0", "0") : share === 0 ? "all" : "unknown";
      };
      return `${one.name} ${decades(0)} and ${decades(epochs - 1)}`;
    });
    return `${over} Decades from the output layer to the first, before training and at the end: ${parts.join("; ")}.`;
  }

  function settings(shown) {
    const rows = ["activation", "init", "layers", "width", "lr", "optimizer", "batch_size", "clip", "seeds"];
    const cell = (value) =>
      value == null ? "none" : Array.isArray(value) ? value.join(", ") : plumbline.number(value);
    return el(
      "div",
      { class: "wide" },
      el(
        "table",
        { class: "compare-table" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("td"),
            shown.map(({ name }) => el("th", { scope: "col" }, name)),
          ),
        ),
        el(
          "tbody",
          {},
          rows.map((row) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, plumbline.label(row)),
              shown.map((one) => el("td", {}, cell(one[row]))),
            ),
          ),
        ),
      ),
    );
  }
})();
