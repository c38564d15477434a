// Shortcuts: the deepest networks of a sweep that learned, and the twins of a run, which differ from it in one thing.
"use strict";

(() => {
  const { el, state } = plumbline;
  const MOST = 8;

  /** The address of a run. */
  plumbline.runPlace = (study, sweep, row, more = {}) =>
    state.place({
      study,
      sweep: sweep.key,
      run: row.run,
      ...Object.fromEntries(sweep.several.map((name) => [name, row[name]])),
      ...more,
    });

  /** Of each activation the deepest network that learned with every seed; of equally deep ones the most accurate. */
  plumbline.deepestOf = (sweep) => {
    const alike = ["activation", "init", "layers", ...sweep.several];
    const cells = d3.group(sweep.rows, (row) => alike.map((name) => row[name]).join("\n"));
    const found = new Map(sweep.axes.activation.map((activation) => [activation, null]));
    for (const rows of cells.values()) {
      // a seed that is not trained yet has not learned
      if (rows.length < sweep.axes.seed.length || !rows.every((row) => row.outcome === "learned")) continue;
      const [first] = rows;
      const one = { row: first, accuracy: plumbline.mean(rows.map((row) => row.final_test_acc)) };
      const best = found.get(first.activation);
      const deeper = best ? first.layers - best.row.layers : 1;
      if (deeper > 0 || (deeper === 0 && (one.accuracy ?? 0) > (best.accuracy ?? 0))) found.set(first.activation, one);
    }
    return [...found].sort(([, a], [, b]) => (b?.row.layers ?? -1) - (a?.row.layers ?? -1));
  };

  /** A plain click opens the run below, and what is filtered, sorted and chosen stays; with a key the link is a link. */
  function openHere(event, sweep, row) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    plumbline.openRun(sweep, row);
  }

  /** A line of links to them. */
  plumbline.deepest = (sweep) => {
    const study = plumbline.findSweep(sweep.key)?.study.key;
    const all = plumbline.deepestOf(sweep);
    const best = all.filter(([, one]) => one).slice(0, MOST);
    const none = all.filter(([, one]) => !one).map(([activation]) => activation);
    const seeds = sweep.axes.seed.length > 1 ? " with every seed" : "";
    const several = sweep.axes.layers.length > 1;
    return el(
      "div",
      { class: "deepest" },
      el("span", { class: "deepest-title" }, `${several ? "Deepest" : "Most accurate"} that learned${seeds}:`),
      el(
        "ul",
        {},
        best.map(([activation, { row }]) =>
          el(
            "li",
            {},
            el(
              "a",
              { href: plumbline.runPlace(study, sweep, row), onclick: (event) => openHere(event, sweep, row) },
              el("strong", {}, `${activation}, ${row.layers} layers`),
              `, ${[row.init, ...sweep.several.map((name) => `${plumbline.label(name)} ${row[name]}`)].join(", ")}`,
            ),
          ),
        ),
        best.length ? null : el("li", {}, "none"),
        none.length && best.length ? el("li", { class: "aside" }, `${none.join(", ")}: none`) : null,
      ),
    );
  };

  // ---- twins

  const AXES = ["init", "layers", "activation", "seed"];

  /** The runs that differ from one in this axis and in nothing else, in the order of the axis. */
  plumbline.twinsOf = (sweep, row, axis) => {
    const alike = [...AXES, ...sweep.several].filter((name) => name !== axis);
    return sweep.rows
      .filter((other) => other !== row && alike.every((name) => other[name] === row[name]))
      .sort((a, b) => sweep.axes[axis].indexOf(a[axis]) - sweep.axes[axis].indexOf(b[axis]));
  };

  const SIGNS = { learned: "✓", diverged: "×", crashed: "↓" };

  /** Links that put a run beside its twins. */
  plumbline.twins = (sweep, row) => {
    const beside = (others) =>
      state.place({
        view: "compare",
        compare: [row, ...others].slice(0, plumbline.MOST_COMPARED).map((one) => plumbline.itemOf(sweep, one)),
      });
    const lines = [...AXES, ...sweep.several]
      .map((axis) => [axis, plumbline.twinsOf(sweep, row, axis)])
      .filter(([, others]) => others.length);
    if (!lines.length) return "";
    const described = (other) => `${plumbline.label(other.axis)} ${other.row[other.axis]}, ${other.row.outcome}`;
    const list = el(
      "dl",
      { class: "twins" },
      lines.flatMap(([axis, others]) => {
        const near = nearest(sweep, row, axis, others);
        return [
          el("dt", {}, `another ${plumbline.label(axis)}`),
          el(
            "dd",
            {},
            others.map((other) =>
              el(
                "a",
                {
                  href: beside([other]),
                  title: `Beside the twin with ${described({ axis, row: other })}`,
                  "aria-label": `Compare with the twin with ${described({ axis, row: other })}`,
                  class: other.outcome === "learned" ? "learned" : null,
                },
                String(other[axis]),
                SIGNS[other.outcome] ? el("span", { class: "sign" }, ` ${SIGNS[other.outcome]}`) : null,
              ),
            ),
            others.length > 1
              ? el(
                  "a",
                  {
                    href: beside(near),
                    class: "all",
                    "aria-label": `Compare with ${near.length} twins of another ${plumbline.label(axis)}`,
                  },
                  others.length === near.length ? `all ${near.length + 1}` : `${near.length + 1} of the ${others.length + 1}`,
                )
              : null,
          ),
        ];
      }),
    );
    return el(
      "section",
      { class: "twins-part", "aria-labelledby": "twins-title" },
      el(
        "p",
        { class: "note" },
        el("strong", { id: "twins-title" }, "Compare with a twin"),
        ", which differs in one thing: the link opens both side by side. ✓ learned, × diverged, ↓ crashed, no sign: did not learn.",
      ),
      plumbline.roving(list),
    );
  };

  /** At most seven twins, those whose value lies next to the run's own. */
  function nearest(sweep, row, axis, others) {
    const place = (one) => sweep.axes[axis].indexOf(one[axis]);
    const near = [...others].sort((a, b) => Math.abs(place(a) - place(row)) - Math.abs(place(b) - place(row)));
    const kept = new Set(near.slice(0, plumbline.MOST_COMPARED - 1));
    return others.filter((other) => kept.has(other));
  }
})();
