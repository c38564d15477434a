// The data: page/studies.js is there from the start, the file of a sweep or part is loaded when it is looked at.
// A page opened by double click may not fetch, so that data comes as scripts: each calls plumbline.data(key, packed).
"use strict";

(() => {
  const studies = [];
  const packed = new Map(); // key: base64 of gzip of JSON, until it is unpacked
  const loading = new Map(); // file: promise of its data

  /** What page/studies.js calls, and results/local/page/studies.js with { own: true }. */
  plumbline.studies = (list, { own = false } = {}) => {
    for (const study of list)
      studies.push({ sweeps: [], parts: [], notebooks: [], csvs: [], pictures: [], ...study, own });
  };
  plumbline.allStudies = () => studies;
  plumbline.findStudy = (key) => studies.find((study) => study.key === key);

  /** What a data file calls. */
  plumbline.data = (key, text) => packed.set(key, text);

  /** Load a script once; rejects with a sentence where it is not there. */
  const scripts = new Map();
  plumbline.script = (file) => {
    if (!scripts.has(file)) {
      scripts.set(
        file,
        new Promise((resolve, reject) => {
          const script = plumbline.el("script", { src: file });
          script.onload = resolve;
          script.onerror = () => reject(new Error(`The file ${decodeURI(file)} is missing or cannot be read.`));
          document.head.append(script);
        }),
      );
    }
    return scripts.get(file);
  };

  /** The JSON in a data file. */
  plumbline.unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };

  async function load({ key, file }) {
    await plumbline.script(plumbline.path(file));
    const text = packed.get(key);
    packed.delete(key);
    try {
      return await plumbline.unpack(text);
    } catch {
      throw new Error(
        `The data file ${file} is damaged: it cannot be unpacked. Get it anew, or make it again with \`make gallery\`.`,
      );
    }
  }

  /** The data of a part of a study; rejects with one sentence. */
  plumbline.loadPart = (part) => {
    if (!loading.has(part.file)) loading.set(part.file, load(part));
    return loading.get(part.file);
  };

  /** A sweep with what every view asks of it; rejects with one sentence. */
  plumbline.loadSweep = (sweep) => {
    const name = `sweep ${sweep.file}`;
    if (!loading.has(name))
      loading.set(
        name,
        plumbline.loadPart(sweep).then((data) => prepare(sweep, data)),
      );
    return loading.get(name);
  };

  /** Every sweep there is, with its study: to name a run of any of them in the address. */
  plumbline.allSweeps = () => studies.flatMap((study) => study.sweeps.map((sweep) => ({ ...sweep, study })));
  plumbline.findSweep = (key) => plumbline.allSweeps().find((sweep) => sweep.key === key);

  // ---- one sweep

  const CELL = ["activation", "init", "layers"];
  const SETTINGS = ["lr", "hidden_size", "batch_size", "optimizer"];
  plumbline.SETTINGS = SETTINGS;
  plumbline.CURVES = ["train_loss", "test_loss", "train_acc", "test_acc"];

  // what of the forecast is a column of the table: { column: its name in the data }
  const FORECAST = { forecast_probability: "probability", forecast_epoch: "epoch" };
  plumbline.FORECAST_COLUMNS = Object.keys(FORECAST);

  function prepare(sweep, data) {
    const columns = Object.keys(data.summary ?? {});
    const count = data.summary?.run?.length;
    if (!count || CELL.some((name) => data.summary[name]?.length !== count))
      throw new Error(`The data file ${sweep.file} holds no runs that could be shown.`);
    const rows = Array.from({ length: count }, (_, i) =>
      Object.fromEntries([["index", i], ...columns.map((column) => [column, data.summary[column][i]])]),
    );
    const forecast = data.forecast ? Object.keys(FORECAST) : [];
    for (const row of rows) {
      row.outcome = outcome(row);
      for (const name of forecast) row[name] = data.forecast[FORECAST[name]]?.[row.index] ?? null;
    }
    const axes = Object.fromEntries(
      [...CELL, "seed", ...SETTINGS].map((name) => {
        const values =
          data.axes?.[name] ?? (rows[0][name] === undefined ? [] : plumbline.unique(rows.map((row) => row[name])));
        return [name, Array.isArray(values) ? values : [values]];
      }),
    );
    return {
      ...data,
      key: sweep.key,
      title: sweep.name,
      rows,
      axes,
      columns: ["run", "outcome", ...columns.filter((column) => column !== "run"), ...forecast],
      byRun: new Map(rows.map((row) => [row.run, row])),
      several: SETTINGS.filter((name) => axes[name].length > 1),
    };
  }

  function outcome(row) {
    if (row.diverged) return "diverged";
    if (row.crashed) return "crashed";
    return row.learned ? "learned" : "did not learn";
  }

  /** A layer statistic of a run: of each epoch that is kept an array, a number a layer, or null; null without a log. */
  plumbline.profiles = (sweep, name, row) => {
    const kept = sweep.layers?.[name]?.[row.index] ?? null;
    return kept === null || Array.isArray(kept) ? kept : plumbline.layers(sweep, name, row.index);
  };

  /** The value of a setting of a run: its own where the sweep varies it, or else the sweep's. */
  plumbline.settingOf = (sweep, row, name) => row[name] ?? sweep.config?.[name];

  /** The runs that differ from this one in nothing but their seed, in the order of the seeds. */
  plumbline.seedsOf = (sweep, row) => {
    const alike = [...CELL, ...sweep.several];
    return sweep.rows.filter((other) => alike.every((name) => other[name] === row[name]));
  };

  /** {name of the cell: its runs}; the name is `plumbline.cellName`. */
  plumbline.cells = (rows) => d3.group(rows, (row) => plumbline.cellName(row.activation, row.init, row.layers));
  plumbline.cellName = (activation, init, layers) => JSON.stringify([activation, init, layers]);
})();
