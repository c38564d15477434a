// What the reader takes along: a run as CSV, a picture as SVG or PNG.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";

  plumbline.save = (name, content, type) => {
    const link = plumbline.el("a", {
      href: URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type })),
      download: name.replace(/[^\w.+-]+/g, "_"),
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  /** Rows of values as CSV; an unknown value is an empty cell, a mean has no more digits than a summary.csv. */
  plumbline.csv = (head, rows) => {
    const written = (value) => (typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value ?? "");
    return d3.csvFormatRows([head, ...rows.map((row) => row.map(written))]) + "\n";
  };

  /** The numbers of runs that the page has, an epoch a row: [{ sweep, row }] */
  plumbline.runsCsv = (runs) => {
    const head = ["sweep", "run", "epoch", ...plumbline.CURVES];
    const lines = runs.flatMap(({ sweep, row }) => {
      const curves = plumbline.CURVES.map((name) => sweep.curves?.[name]?.[row.index] ?? []);
      const length = Math.max(...curves.map((curve) => curve.length));
      return d3.range(length).map((epoch) => [sweep.key, row.run, epoch, ...curves.map((curve) => curve[epoch])]);
    });
    return plumbline.csv(head, lines);
  };

  /** All numbers of one run that the page has: as `runsCsv`, with its layers, which are empty where they are not kept. */
  plumbline.runCsv = (sweep, row) => {
    const profiles = Object.keys(plumbline.STATISTICS)
      .map((name) => [name, plumbline.profiles(sweep, name, row)])
      .filter(([, kept]) => kept);
    const columns = profiles.flatMap(([name]) => d3.range(row.layers).map((layer) => `${name}_${layer}`));
    const curves = plumbline.CURVES.map((name) => sweep.curves?.[name]?.[row.index] ?? []);
    const lines = d3.range(Math.max(...curves.map((curve) => curve.length))).map((epoch) => {
      const at = sweep.layers?.epochs.indexOf(epoch) ?? -1;
      const layers = profiles.flatMap(([, kept]) =>
        d3.range(row.layers).map((layer) => kept[at]?.[layer]),
      );
      return [sweep.key, row.run, epoch, ...curves.map((curve) => curve[epoch]), ...layers];
    });
    return plumbline.csv(["sweep", "run", "epoch", ...plumbline.CURVES, ...columns], lines);
  };

  /** Two buttons that save a picture; `draw` returns its SVG element, complete with title and legend. */
  plumbline.pictureButtons = (name, draw) =>
    plumbline.roving(
      plumbline.el(
        "span",
        { class: "save", role: "toolbar", "aria-label": "Save the picture" },
        plumbline.button("SVG", () => plumbline.save(`${name}.svg`, text(draw()), "image/svg+xml"), {
          "aria-label": `Save the picture ${name} as SVG`,
        }),
        plumbline.button("PNG", async () => plumbline.save(`${name}.png`, await png(draw())), {
          "aria-label": `Save the picture ${name} as PNG`,
        }),
      ),
    );

  const text = (svg) => `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(svg)}`;

  async function png(svg, sharp = 2) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text(svg))}`;
    await image.decode();
    const canvas = plumbline.el("canvas", {
      width: sharp * svg.getAttribute("width"),
      height: sharp * svg.getAttribute("height"),
    });
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.drawImage(image, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  const [INK, GROUND] = ["#1b1b1d", "#fff"]; // of style.css in the light
  const LETTER = 12;

  /**
   * A plot with title and legend in one SVG, in light colours: it is pasted into a paper or onto a slide, where the dark
   * ground of the page would be a black box. legend: [{ name, colour, dash }]
   */
  plumbline.wholePicture = (plot, title, legend = []) => {
    const style = getComputedStyle(document.body);
    const inner = plot.cloneNode(true);
    inner.querySelectorAll(".crosshair").forEach((line) => line.remove());
    for (const element of inner.querySelectorAll("*"))
      for (const paint of ["stroke", "fill"])
        if (element.hasAttribute(paint)) element.setAttribute(paint, plumbline.lightOf(element.getAttribute(paint)));
    const [width, height] = ["width", "height"].map((side) => Number(plot.getAttribute(side)));
    const titles = broken(title, width - 16);
    const top = 8 + 18 * titles.length;
    const outer = make("svg", { width, height: height + top + 8 + 18 * legend.length, xmlns: SVG, color: INK });
    outer.style.cssText = `font: ${LETTER}px ${style.fontFamily.replaceAll('"', "'")}; color: ${INK}`;
    outer.append(
      make("rect", { width: "100%", height: "100%", fill: GROUND }),
      ...titles.map((line, i) => make("text", { x: 8, y: 18 * (i + 1), fill: INK, "font-weight": 600 }, line)),
    );
    inner.setAttribute("y", top);
    inner.removeAttribute("tabindex");
    outer.append(inner);
    legend.forEach(({ name, colour, dash }, i) => {
      const y = height + top + 12 + 18 * i;
      outer.append(
        make("line", {
          x1: 8,
          x2: 36,
          y1: y,
          y2: y,
          stroke: plumbline.lightOf(colour),
          "stroke-width": 2,
          "stroke-dasharray": dash ?? "none",
        }),
        make("text", { x: 42, y: y + 4, fill: INK }, name),
      );
    });
    return outer;
  };

  /** Several whole pictures as one, below each other. */
  plumbline.stacked = (pictures) => {
    const size = (side) => pictures.map((picture) => Number(picture.getAttribute(side)));
    const [width, height] = [Math.max(...size("width")), d3.sum(size("height"))];
    const outer = make("svg", { width, height, xmlns: SVG, color: INK });
    outer.style.cssText = pictures[0].style.cssText;
    outer.append(make("rect", { width: "100%", height: "100%", fill: GROUND }));
    pictures.forEach((picture, i) => {
      picture.setAttribute("y", d3.sum(size("height").slice(0, i)));
      outer.append(picture);
    });
    return outer;
  };

  /** A title in lines that are no wider than so many pixels. */
  function broken(title, width) {
    const lines = [""];
    for (const word of title.split(" ")) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (lines.at(-1) && plumbline.widest([longer], 600) * LETTER > width) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines;
  }

  function make(tag, attributes, content = "") {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = content;
    return element;
  }
  plumbline.svg = make;
})();
