// The stitching study: errors of stitched networks against the number of anchors by map, and layer by layer.
"use strict";

(() => {
  const { el } = plumbline;
  const NUMBERS = {
    mse_stitched: "mean squared error a pixel",
    accuracy_stitched: "accuracy",
    agreement: "agreement with B",
    agreement_on_errors: "agreement with B where B errs",
    latent_r2: "R² of B's latents",
  };
  const RULES = {
    mse_stitched: [
      ["mse_2", "B's own"],
      ["mse_class_means", "class means"],
      ["mse_mean_image", "mean image"],
    ],
    accuracy_stitched: [["accuracy_2", "B's own"]],
  };
  const LAYERS = {
    cka: "CKA",
    accuracy: "accuracy of the stitched network",
    agreement: "agreement with B",
    r2_within: "R² within classes of B's layer",
    mutual_neighbours: "nearest neighbours in common",
  };

  plumbline.views.stitching = (place, content, state, set) => {
    if (content.groups.length) anchors(place, content, state, set);
    if (content.layers.length) layers(place, content, state, set);
    if (!content.groups.length && !content.layers.length)
      place.append(plumbline.sentence("There are no stitched networks in this study."));
  };

  const model = (kind) => kind.replaceAll("--", " ").replaceAll("_", " ");
  const ofDifference = (differ) => (differ === "nothing" ? "nothing (a run and itself)" : differ);
  const layered = ({ layer1, layer2 }) => (layer1 === layer2 ? layer1 : `${layer1} to ${layer2}`);

  /** Each chooser takes its options from what the choosers before it have left. */
  function narrowed(groups, steps, state) {
    let left = groups;
    const choices = [];
    for (const [name, label, value, text, preferred] of steps) {
      const options = [...new Map(left.map((group) => [value(group), text ? text(group) : value(group)]))];
      const chosen = plumbline.chosen(state[name], options, preferred);
      choices.push([name, label, options, chosen]);
      left = left.filter((group) => value(group) === chosen);
    }
    return [left, choices];
  }

  function anchors(place, content, state, set) {
    const [left, choices] = narrowed(
      content.groups,
      [
        ["part", "part", ({ part }) => part],
        [
          "pair",
          "from A to B",
          ({ kind1, kind2 }) => `${kind1} to ${kind2}`,
          ({ kind1, kind2 }) => `${model(kind1)} to ${model(kind2)}`,
        ],
        ["layer", "cut at layer", layered],
        ["sampling", "anchors chosen", ({ sampling }) => sampling, ({ sampling }) => sampling.replaceAll("_", " ")],
      ],
      state,
    );
    // of a map that has no λ there is one group, which stands beside every λ of the others
    const lambdas = plumbline.unique(left.map((group) => group.lambda).filter(Boolean));
    const lambda = plumbline.chosen(state.lambda, lambdas, "gcv");
    const groups = left.filter((group) => !group.lambda || group.lambda === lambda);
    const numbers = Object.keys(NUMBERS).filter((name) => groups.some((group) => group[name]));
    const lines = (number) =>
      groups
        .filter((group) => group[number])
        .map((group, i) => {
          const [y, low, high] = [0, 1, 2].map((at) => group[number].map((values) => values[at]));
          return {
            name: group.map,
            colour: plumbline.colour(i),
            dash: plumbline.dash(i),
            x: group.anchors,
            y,
            low,
            high,
          };
        });
    const one = groups[0];
    const rules = (number) =>
      (RULES[number] ?? [])
        .filter(([name]) => one[name] != null)
        .map(([name, text]) => ({ y: one[name], name: `${text}, ${plumbline.number(one[name])}` }));
    const over = `Mean over ${plumbline.counted(one.pairs, "ordered pair")} of ${one.networks} networks, each over its draws of anchors; band: its 95 % interval, one network left out at a time, within the bounds of what is measured (by logit for a share, by logarithm for an error).`;
    place.append(
      el("p", { class: "sv-said" }, said(one, lines(numbers[0]), numbers[0])),
      plumbline.choosers(
        "stitching",
        [
          ...choices,
          [
            "lambda",
            "λ",
            lambdas.map((value) => [value, value === "gcv" ? "by cross-validation (GCV)" : value]),
            lambda,
          ],
        ],
        set,
      ),
      el("p", { class: "note" }, over),
      el(
        "div",
        { class: "charts two" },
        numbers.map((number) =>
          plumbline.lines({
            title: `${NUMBERS[number]} by anchors`,
            x: "number of anchors",
            y: NUMBERS[number],
            lines: lines(number),
            rules: rules(number),
            xLog: true,
            height: 320,
            log: number.startsWith("mse") ? "auto" : false,
            file: `stitching_${one.part}_${number}`,
          }),
        ),
      ),
    );
  }

  function said(one, lines, number) {
    const where = `${model(one.kind1)} to ${model(one.kind2)} on ${one.dataset}, cut at layer ${layered(one)}`;
    const ends = lines.map(
      ({ name, x, y }) =>
        `${name} ${plumbline.number(y[0])} at ${x[0]} anchors${x.length > 1 ? ` and ${plumbline.number(y.at(-1))} at ${x.at(-1)}` : ""}`,
    );
    return `${where}: ${NUMBERS[number]} of the stitched network: ${ends.join("; ")}.`;
  }

  function layers(place, content, state, set) {
    const words = (flag) => (flag ? "learned" : "did not learn");
    const [pairs, choices] = narrowed(
      content.layers,
      [
        ["part", "part", ({ part }) => part],
        ["differ", "A and B differ in", ({ differ }) => differ, ({ differ }) => ofDifference(differ)],
        ["pair", "runs A and B", ({ model1, model2 }) => `${model1} to ${model2}`],
      ],
      state,
    );
    const one = pairs[0];
    const measures = Object.keys(LAYERS).filter((name) => one[name]);
    const measure = plumbline.chosen(state.measure, measures);
    const values = one[measure].flat().map((value) => value ?? NaN); // layer of A by layer of B
    const best = d3.greatestIndex(values, (a, b) => (Number.isNaN(a) ? -1 : Number.isNaN(b) ? 1 : a - b));
    const count = one.layers2.length;
    const alike = content.layers.filter(
      (row) =>
        row.part === one.part &&
        String(row.layers1) === String(one.layers1) &&
        String(row.layers2) === String(one.layers2),
    );
    const lines = [
      ...d3.group(
        alike,
        (row) =>
          `${ofDifference(row.differ)}, ${row.learned_1 && row.learned_2 ? "both learned" : row.learned_1 || row.learned_2 ? "one learned" : "none learned"}`,
      ),
    ].map(([name, rows], i) => {
      const { mean, low, high } = plumbline.band(
        rows.map((row) => row.layers1.map((layer, k) => row[measure][k]?.[row.layers2.indexOf(layer)])),
      );
      return {
        name: `${name} (${plumbline.counted(rows.length, "pair")})`,
        colour: plumbline.colour(i),
        dash: plumbline.dash(i),
        x: one.layers1,
        y: mean,
        low,
        high,
      };
    });
    place.append(
      el(
        "p",
        { class: "sv-said" },
        `A ${one.model1} (${words(one.learned_1)}), B ${one.model2} (${words(one.learned_2)}): ${LAYERS[measure]} is highest from layer ${one.layers1[Math.floor(best / count)]} of A to layer ` +
          `${one.layers2[best % count]} of B, ${plumbline.number(values[best])}, and lowest at ${plumbline.number(d3.min(values))}.`,
      ),
      plumbline.choosers(
        "layers",
        [...choices, ["measure", "colour", measures.map((name) => [name, LAYERS[name]]), measure]],
        set,
      ),
      el(
        "div",
        { class: "charts two" },
        plumbline.heatMap({
          id: "stitching-layers",
          title: `${LAYERS[measure]}, layer by layer`,
          file: `stitching_${one.model1}_to_${one.model2}_${measure}`,
          x: { label: "layer of B", values: one.layers2 },
          y: { label: "layer of A", values: one.layers1 },
          values,
          label: LAYERS[measure],
          domain: [Math.max(0, Math.min(0, d3.min(values))), 1],
          square: true,
        }),
        plumbline.lines({
          title: `${LAYERS[measure]} at the same layer of both`,
          x: "layer",
          y: LAYERS[measure],
          lines,
          log: false,
          height: 360,
          file: `stitching_${one.part}_same_layer_${measure}`,
          note: "Means over pairs of runs; bands from the lowest to the highest.",
        }),
      ),
    );
  }
})();
