// What the views of the other studies share: unpacking their numbers, choosers, heat maps, means over seeds.
"use strict";

(() => {
  const { el } = plumbline;

  /** The numbers that helpers/page/packing.py has packed: NaN for one that is not known, 0 for one that is exactly 0. */
  plumbline.numbers = ({ log10, share, per }) => {
    let last = 0;
    const off = plumbline.shareOff(per);
    return (log10 ?? share).map((step) => {
      if (step === null) return NaN;
      if (step === false) return 0;
      last += step;
      return log10 ? plumbline.asKnown(10 ** (last / per), off) : last / per;
    });
  };

  /** The controls of a view. choices: [[name in the address, label, options, chosen]]; one that leaves no choice is left out. */
  plumbline.choosers = (id, choices, set) =>
    el(
      "div",
      { class: "controls" },
      choices.map(([name, label, options, chosen]) =>
        options.length > 1
          ? plumbline.select(label, chosen, options, (value) => set({ [name]: value }), `${id}-${name}`)
          : null,
      ),
    );

  /** What the address asks for, if it is one of the options, or else the first. options: values, or [value, text] pairs. */
  plumbline.chosen = (asked, options, otherwise) => {
    const values = options.map((option) => (Array.isArray(option) ? option[0] : option));
    return values.find((value) => String(value) === asked) ?? (values.includes(otherwise) ? otherwise : values[0]);
  };

  /** { mean, low, high } at each place over several rows of numbers, of those that are known. */
  plumbline.band = (rows) => {
    const length = Math.max(0, ...rows.map((row) => row.length));
    const at = d3
      .range(length)
      .map((i) => rows.map((row) => row[i]).filter((value) => value != null && Number.isFinite(value)));
    const over = (take) => at.map((values) => (values.length ? take(values) : null));
    return {
      mean: over((values) => d3.mean(values)),
      low: over((values) => d3.min(values)),
      high: over((values) => d3.max(values)),
    };
  };

  plumbline.counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

  /** A button that saves the numbers a view shows; table: () => [head, rows]. */
  const csvButton = (name, table) =>
    plumbline.button("CSV", () => plumbline.save(`${name}.csv`, plumbline.csv(...table()), "text/csv"), {
      tabindex: "-1", // it stands beside the picture's buttons, which are one tab stop
      "aria-label": `Save the numbers of ${name} as CSV`,
    });

  /** The numbers of a line chart as a table: its lines below each other. */
  plumbline.linesTable = (x, lines) => () => [
    ["line", x, "value", "low", "high"],
    lines.flatMap((line) => line.x.map((at, i) => [line.name, at, line.y[i], line.low?.[i], line.high?.[i]])),
  ];

  /** A line chart with a button for its numbers. */
  plumbline.lines = (options) => {
    const figure = plumbline.lineChart(options);
    figure
      .querySelector(".save")
      ?.append(csvButton(options.file ?? options.title, plumbline.linesTable(options.x, options.lines)));
    return figure;
  };

  const COLOURS = {
    viridis: d3.interpolateViridis,
    cividis: d3.interpolateCividis,
    magma: d3.interpolateMagma,
    both: (share) => d3.interpolatePuOr(1 - share),
  };

  /**
   * A map of numbers as colours, a figure element; pointer and arrow keys say the number at a place.
   *
   * title   what it shows; `heading`: what stands over the saved picture, `file`: its name
   * x, y    { label, values, nice }: what the columns stand for, from the left, and the rows, from below; nice: of so many one
   *         may have a number
   * values  the numbers, row by row from below; NaN for one that is not known
   * label   what the colours are; `log`: on a logarithmic scale, with `zero` the word for what is exactly 0
   * domain  [least, greatest] of the colours; what lies beyond has the colour of the end
   * colours "viridis", "cividis", "magma", or "both" for numbers on both sides of the domain's middle; `contours`: lines of equal value, about so many
   * line    [[x, y], ...], a path over the map in places of columns and rows
   */
  plumbline.heatMap = ({
    id,
    title,
    x,
    y,
    values,
    label,
    log = false,
    domain,
    colours = "viridis",
    contours = 0,
    zero,
    line,
    height = 260,
    square = false,
    file = title,
    heading = title,
    note,
  }) => {
    const [columns, rows] = [x.values.length, y.values.length];
    const known = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
    const [least, greatest] = domain ?? (known.length ? d3.extent(known) : [log ? 1 : 0, 1]);
    const scale = (value) => (log ? Math.log10(value) : value);
    const share = (value) =>
      greatest > least
        ? Math.min(1, Math.max(0, (scale(value) - scale(least)) / (scale(greatest) - scale(least))))
        : 0.5;
    const colour = (value) =>
      !Number.isFinite(value) ? null : log && value <= 0 ? "#000" : COLOURS[colours](share(value));
    const zeros = log ? values.filter((value) => value === 0).length : 0;
    const unknown = values.filter((value) => !Number.isFinite(value)).length;

    const stage = el("div", {
      id,
      class: "stage sv-map",
      tabindex: "0",
      role: "group",
      "aria-label": `${title}. Arrow keys move along ${x.label} and ${y.label}.`,
    });
    const place = el("span", { class: "place", "aria-live": "polite" });
    let plot;
    const buttons = plumbline.pictureButtons(file, () => plumbline.wholePicture(plot, heading));
    buttons.append(
      csvButton(file, () => [
        [x.label, y.label, label],
        values.map((value, k) => [
          x.values[k % columns],
          y.values[Math.floor(k / columns)],
          Number.isFinite(value) ? value : null,
        ]),
      ]),
    );
    const notes = [
      note,
      zeros ? `${plumbline.counted(zeros, "value")} exactly 0${zero ? `, ${zero}` : ""}: black.` : null,
      unknown ? `${plumbline.counted(unknown, "value")} not known: left empty.` : null,
    ].filter(Boolean);
    const figure = el(
      "figure",
      { class: "chart" },
      el("figcaption", {}, el("span", { class: "title" }, title), place, buttons),
      stage,
      notes.length ? el("p", { class: "note" }, notes.join(" ")) : null,
    );

    const picture = raster(columns, rows, values, colour);
    const flat = contours ? values.map((value) => (value > 0 || !log ? scale(value) : NaN)) : [];
    const tick = (axis) => (at) =>
      Number.isInteger(at) && axis.values[at] !== undefined ? String(axis.values[at]) : "";
    // with lines of equal value the map ends at its outermost points, since lines are known between points alone
    const edge = contours ? 0 : 0.5;
    const margin = { top: 56, left: 60, right: 14, bottom: 36 };

    function draw(width) {
      const tall = square ? Math.min(width - margin.left - margin.right, 520) + margin.top + margin.bottom : height;
      const wide = square ? tall - margin.top - margin.bottom + margin.left + margin.right : width;
      const every = (axis, room, least) => {
        const step = Math.max(1, Math.ceil((axis.values.length * least) / room));
        const nice = (axis.nice ?? [1, 2, 5, 10, 20, 25, 50, 100, 200]).find((one) => one >= step) ?? step;
        return d3.range(0, axis.values.length, nice);
      };
      const room = { x: wide - margin.left - margin.right, y: tall - margin.top - margin.bottom };
      plot = Plot.plot({
        width: wide,
        height: tall,
        marginTop: margin.top,
        marginLeft: margin.left,
        marginRight: margin.right,
        marginBottom: margin.bottom,
        x: {
          label: x.label,
          labelAnchor: "center",
          labelArrow: "none",
          domain: [-edge, columns - 1 + edge],
          ticks: every(x, wide - 74, 44),
          tickFormat: tick(x),
        },
        y: {
          label: y.label,
          labelAnchor: "center",
          labelArrow: "none",
          domain: [-edge, rows - 1 + edge],
          ticks: every(y, tall - 92, 22),
          tickFormat: tick(y),
        },
        ariaLabel: title,
        style: { fontSize: "12px" },
        marks: [
          Plot.image([0], {
            x: (columns - 1) / 2,
            y: (rows - 1) / 2,
            src: () => picture,
            width: (room.x * columns) / (columns - 1 + 2 * edge),
            height: (room.y * rows) / (rows - 1 + 2 * edge),
            preserveAspectRatio: "none",
            imageRendering: "pixelated",
            clip: true,
          }),
          contours
            ? Plot.contour(flat, {
                width: columns,
                height: rows,
                x1: -0.5,
                x2: columns - 0.5,
                y1: -0.5,
                y2: rows - 0.5,
                thresholds: contours,
                stroke: "white",
                strokeOpacity: 0.75,
                strokeWidth: 0.8,
                clip: true,
              })
            : null,
          line ? Plot.line(line, { stroke: "white", strokeWidth: 4 }) : null,
          line ? Plot.line(line, { stroke: "#D55E00", strokeWidth: 2, marker: "dot" }) : null,
        ],
      });
      plot.append(ramp(Math.min(230, wide - margin.left - margin.right)));
      plot.setAttribute("role", "img");
      stage.replaceChildren(plot);
      figure.dataset.drawn = "";
      point(at, false);
    }

    function ramp(width) {
      const spread = log ? [scale(least), scale(greatest)] : [least, greatest];
      const legend = Plot.legend({
        color: {
          type: "linear",
          domain: greatest > least ? spread : [spread[0] - 0.5, spread[0] + 0.5],
          interpolate: COLOURS[colours],
        },
        label,
        width,
        ticks: 4,
        tickFormat: (value) =>
          log ? plumbline.number(Number((10 ** value).toPrecision(2))).replace(/\.?0*e/, "e") : plumbline.number(value),
      });
      for (const text of legend.querySelectorAll("text"))
        if (text.textContent === label) text.style.textAnchor = "start";
      legend.style.fontSize = "12px";
      legend.setAttribute("x", margin.left);
      legend.setAttribute("y", 2);
      return legend;
    }

    // ---- the number at one place

    let at = null;
    function point(where) {
      at = where && [Math.max(0, Math.min(columns - 1, where[0])), Math.max(0, Math.min(rows - 1, where[1]))];
      plot?.querySelector(".crosshair")?.remove();
      place.textContent = "";
      if (!at || !plot) return;
      const [i, j] = at;
      const value = values[j * columns + i];
      place.textContent = `${x.label} ${x.values[i]}, ${y.label} ${y.values[j]}: ${Number.isFinite(value) ? plumbline.number(Number(value.toPrecision(3))) : "not known"}`;
      const [left, top] = [plot.scale("x").apply(i - 0.5), plot.scale("y").apply(j + 0.5)];
      const [right, bottom] = [plot.scale("x").apply(i + 0.5), plot.scale("y").apply(j - 0.5)];
      plot.append(
        plumbline.svg("rect", {
          class: "crosshair",
          x: left - 1,
          y: top - 1,
          width: right - left + 2,
          height: bottom - top + 2,
          fill: "none",
          stroke: "#D55E00",
          "stroke-width": 2,
        }),
      );
    }
    stage.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const grow = plot.getAttribute("width") / box.width;
      const to = ["x", "y"].map((axis, k) =>
        Math.round(plot.scale(axis).invert((k ? event.clientY - box.top : event.clientX - box.left) * grow)),
      );
      point(to[0] >= 0 && to[0] < columns && to[1] >= 0 && to[1] < rows ? to : null);
    });
    stage.addEventListener("pointerleave", () => point(null));
    stage.addEventListener("blur", () => point(null));
    stage.addEventListener("keydown", (event) => {
      const [i, j] = at ?? [Math.floor((columns - 1) / 2), Math.floor((rows - 1) / 2)];
      const step = at ? 1 : 0; // the first key shows the middle
      const to = {
        ArrowLeft: [i - step, j],
        ArrowRight: [i + step, j],
        ArrowUp: [i, j + step],
        ArrowDown: [i, j - step],
        Home: [0, j],
        End: [columns - 1, j],
        Escape: null,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(to);
    });
    if (known.length || zeros) plumbline.withWidth(stage, draw);
    else stage.replaceWith(plumbline.sentence("There is nothing to draw here: no value is known."));
    return figure;
  };

  /** A picture of a pixel a number, as a data address: the browser makes it larger. */
  function raster(columns, rows, values, colour) {
    const canvas = el("canvas", { width: columns, height: rows });
    const pen = canvas.getContext("2d");
    values.forEach((value, k) => {
      const paint = colour(value);
      if (!paint) return;
      pen.fillStyle = paint;
      pen.fillRect(k % columns, rows - 1 - Math.floor(k / columns), 1, 1);
    });
    return canvas.toDataURL();
  }
})();
