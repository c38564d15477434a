// Line charts with Observable Plot: a legend that shows the values under the pointer, arrow keys, log axes, saving.
"use strict";

(() => {
  const { el } = plumbline;

  plumbline.dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

  // The colours of the figures (Okabe and Ito's, told apart by colour-blind readers): brighter on a dark ground, and on a
  // light one the two palest darker, so that each stands out by a contrast of 3.
  const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#3399D3", "#C08400", "currentColor", "#663300"];
  const DARK = ["#4AA8E8", "#FF8A4C", "#2CCB9B", "#E3A0CB", "#9ADBFF", "#F7BC45", "currentColor", "#C89B6C"];
  const DASHES = [null, "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "1 2", "7 2 1 2 1 2"];
  plumbline.colour = (i) => both((dark) => (dark ? DARK : LIGHT)[i % LIGHT.length]);

  // a colour of the dark page: what a picture has instead that is saved, which is always light
  const inLight = new Map();
  function both(of) {
    const [present, bright] = [of(plumbline.dark()), of(false)];
    inLight.set(present, bright);
    return present;
  }
  plumbline.lightOf = (colour) => (plumbline.dark() && inLight.get(colour)) || colour;

  // ---- contrast, as WCAG 2 counts it

  /** The share of light that a colour gives back. */
  const light = (colour) => {
    const { r, g, b } = d3.rgb(colour);
    const [x, y, z] = [r, g, b].map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);

  /** Black or white, which can be read better on a colour: at least 4.58 times as light or as dark. */
  plumbline.inkOn = (colour) => (contrast("#000", colour) > contrast("#fff", colour) ? "#000" : "#fff");

  /** A line's colour as letters have it: darker, on a dark ground lighter, until they can be read. */
  plumbline.inkOf = (colour) =>
    both((dark) => {
      if (!d3.color(colour)) return colour; // currentColor
      const ground = dark ? "#16181c" : "#fff";
      const ink = d3.lab(dark ? colour : plumbline.lightOf(colour));
      while (contrast(ink, ground) < 4.6 && ink.l > 0 && ink.l < 100) ink.l += dark ? 1 : -1;
      return ink.formatHex();
    });

  plumbline.dash = (i) => DASHES[i % DASHES.length];

  /** The colour of a step of a sequence, from early (0) to late (1), readable on the present ground. */
  plumbline.sequence = (share) => both((dark) => d3.interpolateViridis(dark ? 0.3 + 0.7 * share : 0.85 * share));

  /** A logarithmic axis is sensible where all values are above 0 and span more than a decade. */
  plumbline.isLog = (values) => {
    const above = values.filter((value) => value > 0);
    return above.length > 0 && d3.max(above) > 10 * d3.min(above);
  };

  /**
   * A chart of lines, a figure element.
   *
   * title  what it shows; also the name of the saved picture. heading: what the saved picture says, which stands alone
   * x      label of the x axis; whole: it counts something; xLog: it is logarithmic
   * log    "auto", true or false: the y axis. `domain`: where it begins and ends, otherwise what is drawn
   * lines  [{ name, colour, dash, x: [...], y: [...], low: [...], high: [...], mark }], null for an unknown value;
   *        low and high: a band around the line; mark: what stands at its end; drawn: "dots"
   * rules  [{ y, name }], dotted lines across
   * rest   the x of whose values the legend tells while nobody points at another; the last one where left out
   */
  plumbline.lineChart = ({
    title,
    x,
    y,
    lines,
    log = "auto",
    domain,
    rules = [],
    xLog = false,
    whole = true,
    height = 240,
    file = title,
    heading = title,
    note,
    rest = null,
  }) => {
    const points = lines.flatMap((line, i) =>
      line.x.map((at, k) => ({
        line: i,
        x: at,
        y: line.y[k] ?? NaN,
        low: line.low?.[k] ?? NaN,
        high: line.high?.[k] ?? NaN,
      })),
    );
    const values = points.flatMap((point) => [point.y, point.low, point.high]).filter(Number.isFinite);
    const logarithmic = log === "auto" ? plumbline.isLog(values) : log;
    const lost = logarithmic ? points.filter((point) => point.y <= 0).length : 0;
    if (logarithmic)
      for (const point of points) for (const side of ["y", "low", "high"]) if (!(point[side] > 0)) point[side] = NaN;
    const xs = [...new Set(points.map((point) => point.x))].sort(d3.ascending);
    const drawn = points.filter((point) => Number.isFinite(point.y));

    const stage = el("div", {
      class: "stage",
      style: `min-height: ${height}px`, // so that nothing jumps when it is drawn
      tabindex: "0",
      role: "group",
      "aria-label": `${title}. Arrow keys move along ${x}.`,
    });
    const place = el("span", { class: "place" });
    const cells = lines.map(() => el("span", { class: "value" }));
    const legend = el(
      "ul",
      { class: "legend" },
      lines.map((line, i) =>
        el("li", {}, swatch(line), el("span", { class: "name" }, plumbline.breakable(line.name)), cells[i]),
      ),
      rules.map((rule) =>
        el("li", {}, swatch({ colour: "currentColor", dash: "1 3" }), el("span", { class: "name" }, rule.name)),
      ),
    );
    let plot;
    const figure = el(
      "figure",
      { class: "chart" },
      el(
        "figcaption",
        {},
        el("span", { class: "title" }, title),
        place,
        plumbline.pictureButtons(file, () =>
          plumbline.wholePicture(plot, heading, [
            ...lines,
            ...rules.map(({ name }) => ({ name, colour: "gray", dash: "1 3" })),
          ]),
        ),
      ),
      stage,
      el("div", { "aria-live": "polite" }, legend),
      lost
        ? el(
            "p",
            { class: "note" },
            `${lost} ${lost === 1 ? "value is" : "values are"} exactly 0 and cannot stand on a logarithmic axis.`,
          )
        : null,
      note ? el("p", { class: "note" }, note) : null,
    );

    if (!drawn.length) {
      stage.replaceWith(plumbline.sentence("There is nothing to draw here: no value is known."));
      return figure;
    }

    function draw(width) {
      plot = Plot.plot({
        width,
        height: Math.round(Math.max(height, Math.min(0.36 * width, 1.7 * height))), // a wide chart is not a strip
        style: { fontSize: "12px", fontFamily: "inherit", background: "none" },
        marginLeft: 56,
        marginRight: lines.some((line) => line.mark) ? 24 : 14,
        marginBottom: 38,
        x: {
          label: x,
          labelAnchor: "center",
          labelArrow: "none",
          ...(whole ? { tickFormat: (tick) => (Number.isInteger(tick) ? String(tick) : "") } : {}),
          ...(xLog
            ? { type: "log", ticks: xs, tickFormat: plumbline.number }
            : { ticks: Math.max(2, Math.round(width / 80)) }),
        },
        y: {
          label: null,
          type: logarithmic ? "log" : "linear",
          ...axis(),
          grid: true,
          domain: domain ?? undefined,
          clamp: Boolean(domain),
          ticks: 5,
        },
        ariaLabel: title,
        marks: [
          rules.length
            ? Plot.ruleY(rules, { y: "y", stroke: "currentColor", strokeDasharray: "1 3", strokeOpacity: 0.7 })
            : null,
          lines.map((line, i) => {
            const own = points.filter((point) => point.line === i);
            const paint = {
              stroke: line.colour,
              strokeDasharray: line.dash ?? undefined,
              strokeWidth: line.width ?? 1.8,
            };
            return [
              line.low
                ? Plot.areaY(own, { x: "x", y1: "low", y2: "high", fill: line.colour, fillOpacity: 0.18 })
                : null,
              Plot.line(own, { x: "x", y: "y", ...paint }),
              own.length < 14 ? Plot.dot(own, { x: "x", y: "y", r: 2, fill: line.colour }) : null,
            ];
          }),
        ],
      });
      plot.setAttribute("role", "img");
      markEnds();
      stage.replaceChildren(plot);
      figure.dataset.drawn = "";
    }

    /** What stands at the end of each line, pushed apart where several lines end at one place. */
    function markEnds() {
      const ends = lines.flatMap((line, i) => {
        const last = line.mark && points.findLast((point) => point.line === i && Number.isFinite(point.y));
        return last ? [{ line, x: plot.scale("x").apply(last.x) + 7, y: plot.scale("y").apply(last.y) + 4 }] : [];
      });
      ends.sort((a, b) => a.y - b.y);
      ends.forEach((end, i) => {
        const above = ends.slice(0, i).filter((other) => Math.abs(other.x - end.x) < 12);
        end.y = Math.max(end.y, ...above.map((other) => other.y + 12));
      });
      // and up again where they would stand below the axis
      ends.reverse().forEach((end, i) => {
        const below = ends.slice(0, i).filter((other) => Math.abs(other.x - end.x) < 12);
        end.y = Math.min(end.y, plot.scale("y").range[0] + 3, ...below.map((other) => other.y - 12));
        const paint = { fill: plumbline.inkOf(end.line.colour), "font-weight": 600 };
        plot.append(plumbline.svg("text", { x: end.x, y: end.y, class: "end", ...paint }, end.line.mark));
      });
    }

    function axis() {
      if (!logarithmic) return {};
      const [low, high] = d3.extent(drawn, (point) => point.y);
      // many decades: powers of ten, few: also what lies between
      return {
        tickFormat: (tick) =>
          high / low < 50 || Math.abs(Math.log10(tick) % 1) < 1e-9 ? plumbline.number(tick).replace(/\.?0*e/, "e") : "",
      };
    }

    // ---- the values at one place along x

    const still = rest === null ? xs.length - 1 : d3.bisector((value) => value).center(xs, rest);
    let at = null;
    function point(index) {
      at = index == null ? null : Math.max(0, Math.min(xs.length - 1, index));
      plot?.querySelector(".crosshair")?.remove();
      const here = xs[at ?? still];
      const atEnd = at === null && rest === null; // lines may end at different places
      place.textContent = `values at ${atEnd ? `the last ${x}` : `${x} ${plumbline.number(here)}`}`;
      lines.forEach((line, i) => {
        const k = atEnd ? d3.maxIndex(line.x, (_, j) => (line.y[j] == null ? -1 : j)) : line.x.lastIndexOf(here);
        const [value, low, high] = [line.y[k], line.low?.[k], line.high?.[k]];
        cells[i].textContent =
          k < 0
            ? ""
            : value == null
              ? "unknown"
              : plumbline.number(value) +
                (low != null && high > low ? ` (${plumbline.number(low)} to ${plumbline.number(high)})` : "");
      });
      if (at === null || !plot) return;
      const [left, { range }] = [plot.scale("x").apply(here), plot.scale("y")];
      plot.append(
        plumbline.svg("line", {
          class: "crosshair",
          x1: left,
          x2: left,
          y1: range[0],
          y2: range[1],
          stroke: "currentColor",
          "stroke-opacity": 0.5,
        }),
      );
    }
    stage.addEventListener("pointermove", (event) => {
      const scale = plot.scale("x");
      const box = plot.getBoundingClientRect();
      const wanted = scale.invert(((event.clientX - box.left) * plot.getAttribute("width")) / box.width);
      point(d3.bisector((value) => value).center(xs, wanted));
    });
    stage.addEventListener("pointerleave", () => point(null));
    stage.addEventListener("blur", () => point(null));
    stage.addEventListener("keydown", (event) => {
      const now = at ?? still;
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: xs.length - 1, Escape: null }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(to);
    });
    point(null);
    plumbline.withWidth(stage, draw);
    return figure;
  };

  /** Call `draw(width)` as soon as the element stands in the page, and again when its width has changed. */
  plumbline.withWidth = (element, draw) => {
    let drawnAt = 0;
    new ResizeObserver(([{ contentRect }]) => {
      const width = Math.floor(contentRect.width);
      if (width > 0 && width !== drawnAt) draw((drawnAt = width));
    }).observe(element);
  };

  function swatch({ colour, dash }) {
    const picture = plumbline.svg("svg", { width: 26, height: 8, class: "swatch", "aria-hidden": "true" });
    picture.append(
      plumbline.svg("line", {
        x1: 0,
        x2: 26,
        y1: 4,
        y2: 4,
        stroke: colour,
        "stroke-width": 2.2,
        "stroke-dasharray": dash ?? "none",
      }),
    );
    return picture;
  }
  plumbline.swatch = swatch;
})();
