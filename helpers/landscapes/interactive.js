// Draws the loss surfaces of an element .loss-surfaces, as helpers/landscapes/interactive.py writes it: turned with the
// mouse or the arrow keys, a slider over the checkpoints, the loss on a linear or a logarithmic scale. Until all is
// there, and where it cannot be, the element shows its still picture.
(() => {
  "use strict";

  const HERE = ".loss-surfaces:not([data-started])";
  const STEP = Math.PI / 18; // of a press of an arrow key
  const VIEW = { x: 1.1, y: -1.25, z: 0.8 }; // from where one looks at first
  const DIVERGED = "#D55E00";
  const VIRIDIS = "Viridis";
  const CIVIDIS = "Cividis";

  for (const root of document.querySelectorAll(HERE)) {
    root.dataset.started = "";
    start(root).catch((error) => {
      root.querySelector(".loss-surfaces-note").textContent = `A still picture: ${error.message}.`;
    });
  }

  async function start(root) {
    const data = JSON.parse(root.querySelector(".loss-surfaces-data").textContent);
    if (!document.createElement("canvas").getContext("webgl")) throw new Error("this browser has no WebGL");
    const plotly = await library(root, data.library);
    const state = { network: 0, checkpoint: 0, logarithmic: data.logarithmic, colour: "loss", shared: true };
    const plot = element("div", { className: "loss-surfaces-plot", tabIndex: 0 });
    plot.setAttribute("role", "application"); // a screen reader leaves the arrow keys to it
    const words = element("p", { className: "loss-surfaces-words" });
    words.setAttribute("aria-live", "polite");
    const draw = () => show(plotly, plot, words, data, state);
    const still = root.querySelector(".loss-surfaces-still");
    const live = element("div", {}, controls(data, state, draw, () => look(plotly, plot, VIEW)), plot, words);
    root.append(live);
    try {
      await draw();
    } catch (error) {
      live.remove();
      throw error;
    }
    still.hidden = true;
    plot.addEventListener("keydown", (event) => turn(plotly, plot, event));
  }

  // The library, unpacked once a page from whichever output carries it; `define` and `module` of a page stay out of it.
  function library(root, version) {
    const unpacked = (window.plumblineLibraries ??= {});
    return (unpacked[version] ??= unpack(root, version).catch((error) => {
      delete unpacked[version]; // another output may bring it
      throw error;
    }));
  }

  async function unpack(root, version) {
    const packed = await carrier(root, version);
    if (!window.DecompressionStream) throw new Error("this browser cannot unpack the drawing library");
    const bytes = Uint8Array.from(atob(packed.textContent.trim()), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const source = await new Response(stream).text();
    const module = { exports: {} };
    const before = Object.getOwnPropertyDescriptor(window, "Plotly"); // a page may have its own, of another version
    new Function("module", "exports", "define", source)(module, module.exports, undefined);
    if (before) Object.defineProperty(window, "Plotly", before);
    else delete window.Plotly;
    return module.exports;
  }

  // The element that carries the library; an output without one waits for another, which may be drawn later.
  async function carrier(root, version) {
    const name = `.loss-surfaces-library[data-version="${version}"]`;
    for (let tries = 0; tries < 150; tries += 1) {
      const found = root.querySelector(name) ?? document.querySelector(name);
      if (found) return found;
      await new Promise((done) => setTimeout(done, 200));
    }
    throw new Error("no output of this page carries the drawing library");
  }

  function controls(data, state, draw, reset) {
    const frames = () => data.networks[state.network].checkpoints;
    const slider = element("input", { name: "checkpoint", type: "range", min: 0, step: 1, value: 0 });
    const name = element("output", {});
    const renew = () => {
      state.checkpoint = Math.min(state.checkpoint, frames().length - 1);
      slider.max = frames().length - 1;
      slider.value = state.checkpoint;
      name.textContent = frames()[state.checkpoint].name;
      slider.setAttribute("aria-valuetext", name.textContent);
      slider.parentElement.hidden = frames().length < 2;
    };
    slider.addEventListener("input", () => {
      state.checkpoint = Number(slider.value);
      renew();
      draw();
    });
    const bar = element("div", { className: "loss-surfaces-controls" });
    if (data.networks.length > 1) {
      const options = data.networks.map((network, i) => element("option", { value: i, textContent: network.name }));
      bar.append(choice("surface", options, (value) => {
        state.network = Number(value);
        renew();
        draw();
      }));
    }
    const linear = element("option", { value: "", textContent: "linear" });
    const logarithmic = element("option", { value: "log", textContent: "logarithmic", selected: state.logarithmic });
    const colours = ["loss", "accuracy"].map((value) => element("option", { value, textContent: value }));
    const ranges = [
      element("option", { value: "all", textContent: "of all" }),
      element("option", { value: "own", textContent: "of this surface" }),
    ];
    const again = element("button", { type: "button", textContent: "first view" });
    again.addEventListener("click", reset);
    bar.append(
      element("label", {}, "checkpoint ", slider, " ", name),
      choice("loss", [linear, logarithmic], (value) => {
        state.logarithmic = value === "log";
        draw();
      }),
      choice("colour", colours, (value) => {
        state.colour = value;
        draw();
      }),
      choice("range", ranges, (value) => {
        state.shared = value === "all";
        draw();
      }),
      again,
    );
    renew();
    return bar;
  }

  function choice(label, options, chosen) {
    const select = element("select", { name: label }, ...options);
    select.addEventListener("change", () => chosen(select.value));
    return element("label", {}, `${label} `, select);
  }

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function show(plotly, plot, words, data, state) {
    const network = data.networks[state.network];
    const frame = network.checkpoints[state.checkpoint];
    plot.setAttribute("aria-label", `${frame.words} Arrow keys turn the surface, plus and minus bring it nearer.`);
    words.textContent = frame.words;
    return plotly.react(plot, traces(frame, data, state), layout(plot, frame, data, state), {
      displaylogo: false,
      responsive: true,
      modeBarButtons: [["toImage"]],
    });
  }

  const height = (loss, data, state) => {
    if (loss === null) return null;
    return state.logarithmic ? Math.log10(Math.max(loss, data.smallest)) : loss;
  };

  // The heights between which the surface is drawn: one range for all surfaces, or its own.
  function endsOf(frame, data, state) {
    const known = state.shared ? [] : frame.loss.flat().filter((loss) => loss !== null);
    const ends = known.length ? [Math.min(...known), Math.max(...known)] : [data.lowest, data.highest];
    return ends.map((loss) => height(loss, data, state));
  }

  function traces(frame, data, state) {
    const ends = endsOf(frame, data, state);
    const z = frame.loss.map((row) => row.map((loss) => height(loss, data, state)));
    const at = (i, j) => `along v1 ${short(frame.steps[i])}, along v2 ${short(frame.steps[j])}`;
    const text = frame.loss.map((row, i) =>
      row.map((loss, j) => {
        const accuracy = frame.accuracy[i][j];
        const right = accuracy === null ? "" : `<br>accuracy ${accuracy}`;
        const spread = frame.deviation ? ` (sd ${frame.deviation[i][j]})` : "";
        return `${at(i, j)}<br>loss ${loss === null ? "not finite" : Number(loss.toPrecision(4))}${spread}${right}`;
      }),
    );
    const whole = frame.loss.every((row) => row.every((loss) => loss !== null));
    const ofLoss = state.colour === "loss";
    const ticks = ticksOf(...ends, state);
    const surface = {
      type: "surface", x: frame.steps, y: frame.steps, z, text, hoverinfo: "text", connectgaps: false,
      surfacecolor: ofLoss ? z : frame.accuracy,
      cmin: ofLoss ? ends[0] : 0, cmax: ofLoss ? ends[1] : 1,
      colorscale: ofLoss ? VIRIDIS : CIVIDIS,
      colorbar: { title: { text: state.colour }, thickness: 14, len: 0.8, ...(ofLoss ? ticks : {}) },
      // beside a gap plotly.js 4.1.1 takes a minute for its contour lines
      contours: { z: { show: whole && ends[1] > ends[0], start: ends[0], end: ends[1], size: (ends[1] - ends[0]) / 16 || 1,
        usecolormap: false, color: "rgba(255,255,255,0.7)", width: 1 } },
      lighting: { ambient: 0.85, diffuse: 0.35, specular: 0.05 },
    };
    // crosses of lines, as large as a third of a cell
    const lost = { type: "scatter3d", mode: "lines", name: "loss not finite", x: [], y: [], z: [], text: [],
      hoverinfo: "text", showlegend: true, connectgaps: false, line: { color: DIVERGED, width: 4 } };
    const arm = 0.35 * (frame.steps[1] - frame.steps[0]);
    frame.loss.forEach((row, i) => row.forEach((loss, j) => {
      if (loss !== null) return;
      for (const slope of [1, -1]) {
        lost.x.push(frame.steps[j] - arm, frame.steps[j] + arm, null);
        lost.y.push(frame.steps[i] - slope * arm, frame.steps[i] + slope * arm, null);
        lost.z.push(ends[1], ends[1], null);
        lost.text.push(...Array(3).fill(`${at(i, j)}<br>loss not finite`));
      }
    }));
    return lost.x.length ? [surface, lost] : [surface];
  }

  function layout(plot, frame, data, state) {
    const colour = getComputedStyle(plot).color;
    const ends = endsOf(frame, data, state);
    const room = 0.03 * (ends[1] - ends[0] || 1);
    const axis = { color: colour, gridcolor: "rgba(128,128,128,0.4)", zerolinecolor: "rgba(128,128,128,0.6)" };
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour, size: 12 },
      margin: { l: 0, r: 0, t: 8, b: 0 },
      height: 480,
      legend: { x: 0, y: 1 },
      hoverlabel: { bgcolor: "white", font: { color: "black" } },
      scene: {
        aspectmode: "manual",
        aspectratio: { x: 1, y: 1, z: 0.7 },
        // the view stays when the surface changes
        camera: plot.layout?.scene?.camera ?? { eye: VIEW, center: { x: 0, y: 0, z: -0.17 } },
        xaxis: { ...axis, title: { text: "along v2" } },
        yaxis: { ...axis, title: { text: "along v1" } },
        zaxis: { ...axis, title: { text: "loss" }, range: [ends[0] - room, ends[1] + room], ...ticksOf(...ends, state) },
      },
    };
  }

  // 1, 2, 5 of each decade on a logarithmic scale, or its decades where there are many; a linear scale finds its own.
  function ticksOf(low, high, state) {
    if (!state.logarithmic || !(high - low > 0.8)) {
      if (!state.logarithmic) return {};
      const tickvals = [0, 1, 2, 3, 4].map((i) => low + ((high - low) * i) / 4);
      return { tickvals, ticktext: tickvals.map((value) => short(10 ** value)) };
    }
    const every = Math.ceil((high - low) / 8);
    const parts = high - low < 2.5 ? [1, 2, 5] : [1];
    const tickvals = [];
    for (let power = Math.floor(low); power <= high; power += every) {
      tickvals.push(...parts.map((part) => power + Math.log10(part)).filter((value) => value >= low && value <= high));
    }
    return { tickvals, ticktext: tickvals.map((value) => short(10 ** value)) };
  }

  const short = (value) => String(Number(value.toPrecision(3)));

  function look(plotly, plot, eye) {
    return plotly.relayout(plot, { "scene.camera.eye": eye });
  }

  function turn(plotly, plot, event) {
    const eye = plot.layout.scene.camera?.eye ?? VIEW;
    let away = Math.hypot(eye.x, eye.y, eye.z);
    let around = Math.atan2(eye.y, eye.x);
    let above = Math.asin(eye.z / away);
    if (event.key === "ArrowLeft") around -= STEP;
    else if (event.key === "ArrowRight") around += STEP;
    else if (event.key === "ArrowUp") above = Math.min(above + STEP, 1.5);
    else if (event.key === "ArrowDown") above = Math.max(above - STEP, -1.5);
    else if (event.key === "+") away = Math.max(away / 1.15, 0.4);
    else if (event.key === "-") away = Math.min(away * 1.15, 8);
    else return;
    event.preventDefault();
    event.stopPropagation(); // in JupyterLab these keys move between cells
    const out = away * Math.cos(above);
    look(plotly, plot, { x: out * Math.cos(around), y: out * Math.sin(around), z: away * Math.sin(above) });
  }
})();
