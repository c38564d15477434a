// The landscape study: loss and accuracy around a network, as a surface that turns and as a map beside it.
"use strict";

(() => {
  const { el } = plumbline;
  const QUANTITIES = { loss: "loss (nats)", accuracy: "accuracy" };
  const SPANS = 20; // largest over smallest loss from which a scale is logarithmic unless it is chosen, as in the figures
  const VIEW = { horizontal: 0.9, vertical: 0.45, distance: 1.9 };

  const named = ({ network, activation, init, layers }) =>
    [network, activation, init, layers && `${Number(layers)} layers`].filter(Boolean).join(", ");
  const planeText = ({ kinds }, kind) => (kind === "random" ? "random directions" : (kinds[kind] ?? kind));
  const epochText = (epoch) => (epoch ? `epoch ${epoch}` : "before training");

  plumbline.views.surfaces = (place, content, state, set) => {
    const networks = content.networks.map((network, i) => [String(i), named(network)]);
    const network = plumbline.chosen(
      state.network,
      networks,
      String(
        Math.max(
          0,
          content.networks.findIndex(({ activation }) => activation === "relu"),
        ),
      ),
    );
    const ofNetwork = content.panels.filter((panel) => String(panel.network) === network);
    const kinds = plumbline.unique(ofNetwork.map(({ kind }) => kind)).map((kind) => [kind, planeText(content, kind)]);
    const kind = plumbline.chosen(state.plane, kinds, "random");
    const ofKind = ofNetwork.filter((panel) => panel.kind === kind);
    const epochs = plumbline.unique(ofKind.map(({ epoch }) => epoch)).sort(d3.ascending);
    const epoch = plumbline.chosen(state.epoch, epochs, epochs.at(-1));
    const seeds = plumbline
      .unique(ofKind.filter((panel) => panel.epoch === epoch).map(({ seed }) => seed))
      .sort(d3.ascending);
    const seed = plumbline.chosen(state.seed, seeds);
    const quantity = plumbline.chosen(state.quantity, Object.keys(QUANTITIES));
    const panel = ofKind.find((one) => one.epoch === epoch && one.seed === seed);
    const steps = content.steps[panel.steps];
    const values = plumbline.numbers(panel[quantity]);

    // one scale for all epochs and seeds of this network and plane, so that what is compared is comparable
    const every = ofKind.flatMap((one) => plumbline.numbers(one[quantity])).filter(Number.isFinite);
    const domain = quantity === "loss" ? d3.extent(every) : [0, 1];
    const scales =
      quantity === "loss"
        ? [
            ["log", "logarithmic"],
            ["linear", "linear"],
          ]
        : [["linear", "linear"]];
    const scale = plumbline.chosen(state.scale, scales, domain[1] > SPANS * domain[0] ? "log" : "linear");
    const log = scale === "log";

    const title = `${content.data}: ${named(content.networks[panel.network])}, seed ${seed}, ${epochText(epoch)}`;
    const file = `${panel.key}_${kind}_e${epoch}_${quantity}`;
    // rows of a surface run along the first direction, upwards; columns along the second
    const axes = kind === "trajectory" ? ["second direction", "first direction"] : ["direction 2", "direction 1"];
    const at = (step) => ((step - steps[0]) / (steps.at(-1) - steps[0])) * (steps.length - 1);
    const side = el("div", { class: "sv-turn" });
    place.append(
      el("p", { class: "sv-said" }, said(content, panel, quantity)),
      plumbline.choosers(
        "surfaces",
        [
          ["network", "network", networks, network],
          ["plane", "plane", kinds, kind],
          ["epoch", "epoch", epochs.map((one) => [one, epochText(one)]), epoch],
          ["seed", "seed", seeds, seed],
          ["quantity", "height", Object.entries(QUANTITIES), quantity],
          ["scale", "scale", scales, scale],
        ],
        set,
      ),
      el(
        "div",
        { class: "charts two" },
        side,
        plumbline.heatMap({
          id: "surfaces-map",
          heading: title,
          title: `${QUANTITIES[quantity]}, from above`,
          file,
          x: { label: axes[0], values: steps },
          y: { label: axes[1], values: steps },
          values,
          label: QUANTITIES[quantity],
          log,
          domain,
          colours: quantity === "loss" ? "viridis" : "cividis",
          contours: 12,
          square: true,
          line: panel.path?.map(([one, other]) => [at(other), at(one)]),
          note: panel.path
            ? "The line is the training's path, from its first epoch to the network in the middle."
            : null,
        }),
        [0, 1].map((direction) => plumbline.lines(cut(content, ofKind, epochs, steps, quantity, log, direction, file))),
      ),
    );
    turning(side, { values, steps, log, domain, quantity, title, file, axes }, state);
  };

  function said(content, panel, quantity) {
    const { middle, span } = panel[quantity];
    const number = (value) => (value == null ? "unknown" : plumbline.number(Number(value.toPrecision(3))));
    const repeats =
      panel.repeats > 1
        ? `; mean over ${panel.repeats} planes and mini-batches, whose standard deviation is ${d3.format(".2~p")(panel.spread)} of it (median over the plane)`
        : "";
    return (
      `${content.data}, ${named(content.networks[panel.network])}, seed ${panel.seed}, ${epochText(panel.epoch)}, ${planeText(content, panel.kind)}: ` +
      `${quantity} ${number(middle)} at the network itself, ${span ? span.map(number).join(" to ") : "unknown"} on the plane, of ${content.images} images, ${content.unit}${repeats}.`
    );
  }

  /** The line through the network along one direction: epochs as lines, seeds as bands. */
  function cut(content, panels, epochs, steps, quantity, log, direction, file) {
    const middle = (steps.length - 1) / 2;
    const lines = epochs.map((epoch, i) => {
      const rows = panels.filter(
        (panel) => panel.epoch === epoch && String(content.steps[panel.steps]) === String(steps),
      );
      const cuts = rows.map((panel) => {
        const values = plumbline.numbers(panel[quantity]);
        return steps.map((_, k) => values[direction ? middle * steps.length + k : k * steps.length + middle]);
      });
      const { mean, low, high } = plumbline.band(cuts);
      return {
        name: `${epochText(epoch)} (${plumbline.counted(rows.length, "seed")})`,
        colour: plumbline.colour(i),
        dash: plumbline.dash(i),
        x: steps,
        y: mean,
        low,
        high,
      };
    });
    return {
      title: `${QUANTITIES[quantity]} through the middle, along direction ${direction + 1}`,
      x: "step",
      y: QUANTITIES[quantity],
      lines,
      whole: false,
      rest: 0, // the network itself
      log,
      domain: quantity === "loss" ? undefined : [0, 1],
      file: `${file}_cut_${direction + 1}`,
    };
  }

  // ---- the surface that turns

  async function turning(side, { values, steps, log, domain, quantity, title, file, axes }, state) {
    const stage = el("div", {
      id: "surfaces-turn",
      class: "stage sv-stage",
      tabindex: "0",
      role: "group",
      "aria-label": `${title}. Arrow keys turn the surface, plus and minus bring it nearer; the map beside it has the same numbers.`,
    });
    const save = plumbline.button("PNG", () => onGround(stage.querySelector("canvas"), title, `${file}_surface.png`), {
      "aria-label": "Save the surface as it stands as PNG",
    });
    side.append(
      el(
        "figure",
        { class: "chart" },
        el(
          "figcaption",
          {},
          el("span", { class: "title" }, `${QUANTITIES[quantity]}, to turn`),
          el("span", { class: "place" }, "drag, or arrow keys, + and −"),
          el("span", { class: "save" }, save),
        ),
        stage,
      ),
    );
    try {
      await plumbline.script("page/vendor/vis-graph3d.min.js");
    } catch (error) {
      stage.replaceWith(plumbline.sentence(`${error.message} The map beside has the same numbers.`));
      return;
    }
    if (!side.isConnected) return; // the reader has gone on
    const up = (value) => (log ? Math.log10(value) : value);
    const points = values
      .map((value, k) => ({ x: steps[k % steps.length], y: steps[Math.floor(k / steps.length)], z: up(value) }))
      .filter(({ z }) => Number.isFinite(z));
    const style = getComputedStyle(document.body);
    const colours = quantity === "loss" ? d3.interpolateViridis : d3.interpolateCividis;
    const say = (z) => plumbline.number(Number((log ? 10 ** z : z).toPrecision(3)));
    const graph = new vis.Graph3d(stage, points, {
      width: "100%",
      height: "100%",
      style: "surface",
      keepAspectRatio: false,
      verticalRatio: 0.6,
      showGrid: true,
      showSurfaceGrid: true,
      showLegend: false,
      showPerspective: true,
      rotateAxisLabels: false,
      backgroundColor: { fill: "transparent", stroke: "transparent", strokeWidth: 0 },
      axisColor: style.color,
      gridColor: style.getPropertyValue("--line") || "#ccc",
      axisFontSize: 22,
      colormap: d3.range(24).map((i) => d3.color(colours(i / 23)).formatHex()),
      zMin: up(domain[0]),
      zMax: up(domain[1]),
      valueMin: up(domain[0]),
      valueMax: up(domain[1]),
      xLabel: axes[0],
      yLabel: axes[1],
      zLabel: "",
      zValueLabel: (z) => say(z),
      cameraPosition: camera(state.turn),
      ctrlToZoom: true,
      tooltipDelay: 0,
      tooltip: ({ x, y, z }) =>
        `${QUANTITIES[quantity]} ${say(z)}<br>${axes[1]} ${plumbline.number(y)}<br>${axes[0]} ${plumbline.number(x)}`,
      tooltipStyle: {
        content: {
          background: style.backgroundColor,
          color: style.color,
          border: `1px solid ${style.color}`,
          padding: "4px 8px",
          borderRadius: "4px",
          boxShadow: "none",
        },
      },
    });
    stage.dataset.drawn = "";

    // the angle goes to the address without drawing anything anew
    let later;
    const keep = () => {
      clearTimeout(later);
      later = setTimeout(() => {
        const { horizontal, vertical, distance } = graph.getCameraPosition();
        if (stage.isConnected)
          history.replaceState(
            null,
            "",
            plumbline.state.link({
              "v.turn": [horizontal, vertical, distance].map((value) => value.toFixed(2)).join("_"),
            }),
          );
      }, 250);
    };
    graph.on("cameraPositionChange", keep);
    stage.addEventListener("keydown", (event) => {
      const { horizontal, vertical, distance } = graph.getCameraPosition();
      const to = {
        ArrowLeft: [horizontal - 0.1, vertical, distance],
        ArrowRight: [horizontal + 0.1, vertical, distance],
        ArrowUp: [horizontal, Math.min(1.57, vertical + 0.1), distance],
        ArrowDown: [horizontal, Math.max(0, vertical - 0.1), distance],
        "+": [horizontal, vertical, Math.max(0.8, distance - 0.15)],
        "-": [horizontal, vertical, Math.min(4, distance + 0.15)],
        Home: [VIEW.horizontal, VIEW.vertical, VIEW.distance],
      }[event.key];
      if (!to) return;
      event.preventDefault();
      graph.setCameraPosition({ horizontal: to[0], vertical: to[1], distance: to[2] });
      graph.redraw();
      keep();
    });
    new ResizeObserver(() => stage.isConnected && graph.redraw()).observe(stage);
  }

  /** Save a canvas, which is transparent, on the page's ground and with its title. */
  function onGround(canvas, title, name) {
    const style = getComputedStyle(document.body);
    const room = 30 * (canvas.width / canvas.clientWidth);
    const whole = el("canvas", { width: canvas.width, height: canvas.height + room });
    const pen = whole.getContext("2d");
    pen.fillStyle = style.backgroundColor;
    pen.fillRect(0, 0, whole.width, whole.height);
    pen.fillStyle = style.color;
    pen.font = `600 ${0.45 * room}px ${style.fontFamily}`;
    pen.fillText(title, 0.3 * room, 0.7 * room, whole.width - 0.6 * room);
    pen.drawImage(canvas, 0, room);
    whole.toBlob((blob) => plumbline.save(name, blob));
  }

  function camera(turn) {
    const [horizontal, vertical, distance] = (turn ?? "").split("_").map(Number);
    return [horizontal, vertical, distance].every(Number.isFinite) && distance > 0
      ? { horizontal, vertical, distance }
      : VIEW;
  }
})();
