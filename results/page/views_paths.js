// The path study: the loss along curves and straight lines between two networks, barriers, and bands of predictions.
"use strict";

(() => {
  const { el } = plumbline;
  const LINES = { straight: "straight line", aligned: "straight line after alignment", curve: "trained curve" };
  const QUANTITIES = {
    train_loss: "training loss (nats a sample)",
    test_loss: "test loss (nats a sample)",
    train_acc: "training accuracy",
    test_acc: "test accuracy",
  };
  const SPACES = {
    solution: "one solution",
    ensemble: "deep ensemble",
    line: "on the curve",
    tunnel: "tunnel around it",
    volume: "volume around it",
    full: "all weights",
    mile: "all weights, from the ensemble",
  };
  const SETTINGS = ["part", "data", "activation", "layers", "hidden_size", "ends"];

  const named = (row) =>
    [
      row.part === row.data ? row.data : `${row.part}: ${row.data}`,
      row.activation,
      row.layers && `${row.layers} layers${row.hidden_size ? ` of ${row.hidden_size}` : ""}`,
      row.ends,
    ]
      .filter(Boolean)
      .join(", ");

  plumbline.views.paths = (place, content, state, set) => {
    const groups = d3.group(content.curves, (row) => SETTINGS.map((name) => row[name]).join("|"));
    const whats = [...groups].map(([key, [first]]) => [key, named(first)]);
    const what = plumbline.chosen(state.what, whats);
    const mine = groups.get(what) ?? [];
    if (!mine.length) {
      place.append(plumbline.sentence("There are no curves in this study."));
      return;
    }
    const degrees = plumbline.unique(mine.map(({ k }) => k)).sort(d3.ascending);
    const k = plumbline.chosen(state.k, degrees);
    const pairs = mine.filter((row) => row.k === k);
    const which = [["all", `all ${pairs.length}, as a band`], ...pairs.map(pair)];
    const one = plumbline.chosen(state.pair, pairs.length > 1 ? which : which.slice(1));
    const rows = one === "all" ? pairs : pairs.filter((row) => pair(row) === one);
    const quantities = Object.keys(QUANTITIES).filter((name) =>
      rows.some(({ lines }) => Object.values(lines).some((line) => line[name])),
    );
    const quantity = plumbline.chosen(state.quantity, quantities);

    const lines = Object.keys(LINES)
      .filter((line) => rows.some((row) => row.lines[line]?.[quantity]))
      .map((line, i) => {
        const { mean, low, high } = plumbline.band(rows.map((row) => row.lines[line]?.[quantity] ?? []));
        return {
          name: LINES[line],
          colour: plumbline.colour(i),
          dash: plumbline.dash(i),
          x: content.grids[rows[0].grid],
          y: mean,
          ...(rows.length > 1 ? { low, high } : {}),
        };
      });
    const likelihoods = lines.some(({ y, low }) => [...y, ...(low ?? [])].some((value) => value <= 0)); // of a regression: below 0 where the fit is close
    place.append(
      el("p", { class: "sv-said" }, said(rows, mine[0], k)),
      plumbline.choosers(
        "paths",
        [
          ["what", "networks", whats, what],
          ["k", "K", degrees, k],
          ["pair", "pair", pairs.length > 1 ? which : [], one],
          ["quantity", "shown", quantities.map((name) => [name, QUANTITIES[name]]), quantity],
        ],
        set,
      ),
      el(
        "div",
        { class: "charts two" },
        plumbline.lines({
          title: `${QUANTITIES[quantity]} between two networks`,
          x: "share of the line's length",
          y: QUANTITIES[quantity],
          lines,
          log: likelihoods ? false : "auto",
          whole: false,
          rest: 0.5, // at the ends all lines meet
          height: 320,
          file: `path_${mine[0].data}_K${k}_${quantity}`,
          note:
            rows.length > 1 ? `Mean over ${rows.length} pairs of networks, band from the lowest to the highest.` : "",
        }),
        degrees.length > 1 ? plumbline.lines(barriers(mine, degrees)) : null,
      ),
    );
    bands(place, content, state, set);
  };

  const pair = (row) => (row.run_a && row.run_a.length > 2 ? `${row.run_a} to ${row.run_b}` : `seed ${row.seed}`);

  /** Barriers against the number of control points: means over pairs, bands from the lowest to the highest. */
  function barriers(mine, degrees) {
    const lines = Object.keys(LINES)
      .map((line, i) => {
        const over = degrees.map((k) =>
          mine
            .filter((row) => row.k === k)
            .map((row) => row[`barrier_${line}`])
            .filter((value) => value != null),
        );
        const take = (how) => over.map((values) => (values.length ? how(values) : null));
        return {
          name: LINES[line],
          colour: plumbline.colour(i),
          dash: plumbline.dash(i),
          x: degrees,
          y: take(d3.mean),
          low: take(d3.min),
          high: take(d3.max),
          known: over.some((values) => values.length),
        };
      })
      .filter(({ known }) => known);
    return {
      title: "barrier (nats a sample)",
      x: "K",
      y: "barrier",
      lines,
      log: false,
      height: 320,
      file: `barriers_${mine[0].data}`,
      note: "K: control points less one. Barrier: highest rise of the training loss above the line between the losses of both ends.",
    };
  }

  function said(rows, first, k) {
    const mean = (name) =>
      plumbline.number(Number((plumbline.mean(rows.map((row) => row[name])) ?? NaN).toPrecision(3)));
    const aligned = rows.some((row) => row.barrier_aligned != null)
      ? `, ${mean("barrier_aligned")} after alignment`
      : "";
    const dead = rows.filter((row) => row.dead).length;
    return (
      `${named(first)}, K = ${k}, ${plumbline.counted(rows.length, "pair")}: the training loss rises by ${mean("barrier_straight")} nats a sample on the straight line${aligned}, and by ` +
      `${mean("barrier_curve")} on the curve, which is ${mean("length")} long where the straight line is ${mean("straight_length")}.` +
      (dead ? ` In ${dead} of them an end has not learned.` : "")
    );
  }

  // ---- bands of predictions, of data with one input

  function bands(place, content, state, set) {
    if (!content.bands.length) return;
    const parts = plumbline.unique(content.bands.map(({ part }) => part));
    const part = plumbline.chosen(state.bands, parts);
    const seeds = plumbline.unique(content.bands.filter((row) => row.part === part).map(({ seed }) => seed));
    const seed = plumbline.chosen(state.seed, seeds);
    const here = content.bands.filter((row) => row.part === part && row.seed === seed);
    const degrees = plumbline.unique(here.map(({ k }) => k).filter((k) => k != null));
    const k = plumbline.chosen(state["bands-k"], degrees);
    const shown = here.filter((row) => row.k == null || row.k === k);
    const domain = d3.extent(shown.flatMap(({ low, high }) => [...low, ...high]));
    place.append(
      el("h2", {}, "Bands of predictions"),
      el(
        "p",
        {},
        "What each way to weigh the networks around the curve predicts: the mean, with a band for the central 90 % of what may be observed, noise included, and one for that of the function alone.",
      ),
      plumbline.choosers(
        "bands",
        [
          ["bands", "part", parts, part],
          ["seed", "seed", seeds, seed],
          ["bands-k", "K", degrees, k],
        ],
        set,
      ),
      el(
        "div",
        { class: "charts" },
        shown.map((row) =>
          plumbline.lines({
            title: SPACES[row.space] ?? row.space,
            x: "input",
            y: "prediction",
            whole: false,
            rest: 0,
            log: false,
            domain,
            file: `band_${row.part}_${row.space}_K${k}_seed_${seed}`,
            lines: [
              {
                name: "mean, and 90 % of observations",
                colour: plumbline.colour(0),
                x: row.x,
                y: row.mean,
                low: row.low,
                high: row.high,
              },
              {
                name: "mean, and 90 % of the function",
                colour: plumbline.colour(1),
                dash: "7 3",
                x: row.x,
                y: row.mean,
                low: row.low_mean,
                high: row.high_mean,
                width: 0.8,
              },
            ],
          }),
        ),
      ),
    );
  }
})();
