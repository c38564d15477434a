// A sweep: the map as the index of its runs, beside it the table of runs, below the run that is open.
"use strict";

(() => {
  const { el, state } = plumbline;

  plumbline.showSweep = (host, sweep) => {
    const settings = Object.fromEntries(
      sweep.several.map((name) => [name, state.get(name) ?? String(sweep.axes[name][0])]),
    );
    const filters = state.all("f.");
    const rows = plumbline.matching(sweep, filters);
    const run = sweep.byRun.get(state.get("run"));
    const quantities = plumbline.mapQuantities(sweep);
    const quantity = quantities[state.get("map")] ? state.get("map") : "final_test_acc";

    plumbline.piece(host, "about", sweep.key, (place) =>
      place.append(
        el(
          "p",
          { class: "note" },
          `${sweep.settings}. `,
          sweep.finished === false
            ? `Not finished yet: ${sweep.rows.length} of ${sweep.planned ?? "its"} runs are there. `
            : "",
          sweep.origin ? `Trained on ${sweep.origin}. ` : "",
          sweep.csv ? el("a", { href: plumbline.path(sweep.csv) }, "summary.csv") : null,
          " ",
          sweep.logs?.match(/\.\w+$/) ? el("a", { href: plumbline.path(sweep.logs) }, "full logs") : null,
          sweep.forecast?.fitted ? `. The forecast is ${plumbline.FITTED}.` : null,
        ),
      ),
    );
    plumbline.piece(host, "deepest", [sweep.key, state.get("compare")], (place) =>
      place.append(plumbline.deepest(sweep)),
    );
    if (sweep.damaged?.length)
      plumbline.piece(host, "damaged", sweep.damaged, (place) =>
        place.append(...sweep.damaged.map(plumbline.sentence)),
      );
    // both places stand before anything is in them: what is measured then costs nothing
    const both = plumbline.piece(host, "index", "", () => {});
    both.className = "index";
    const left = plumbline.piece(both, "left", "", () => {});
    const table = plumbline.piece(both, "right", "", () => {});
    both.style.setProperty("--map-most", `${plumbline.mapWidth(sweep)}px`);
    left.className = "index-map";
    table.className = "index-table";
    const room = table.clientWidth;
    if (!(Math.abs(table.room - room) < 40)) table.room = room; // a scrollbar that comes or goes changes no columns
    table.filtered = plumbline.unique([...(table.filtered ?? []), ...Object.keys(filters)]);
    const columns = plumbline.shownColumns(sweep, table.room, table.filtered);

    plumbline.piece(left, "map", [sweep.key, settings, quantity, plumbline.dark()], (place) => {
      const map = plumbline.sweepMap(sweep, {
        quantity,
        settings,
        open: (activation, init, layers) => openCell(sweep, settings, activation, init, layers),
      });
      place.append(
        el(
          "h2",
          {},
          "Map",
          jump("to the table of runs", ".index-table", ".tabulator-tableholder"),
          jump("to the open run", ".one-run", "#run", "to-run"),
        ),
        el(
          "div",
          { class: "controls" },
          plumbline.select(
            "map of",
            quantity,
            Object.entries(quantities).map(([name, { title }]) => [name, title]),
            (name) => state.set({ map: name === "final_test_acc" ? null : name }),
            "map-of",
          ),
          sweep.several.map((name) =>
            plumbline.select(
              plumbline.label(name),
              settings[name],
              sweep.axes[name],
              (value) => state.set({ [name]: value, run: null }),
              `setting-${name}`,
            ),
          ),
          plumbline.pictureButtons(`${sweep.key}_map`, () => plumbline.mapPicture(sweep, map, sweep.title)),
          plumbline.allSweeps().length > 1
            ? el(
                "a",
                { href: plumbline.state.place({ view: "maps", a: sweep.key, b: plumbline.otherSweep(sweep.key) }) },
                "beside another map",
              )
            : null,
        ),
        plumbline.mapLegend(map.scale, map.extent, map.title),
        map.region,
      );
    });
    plumbline.markCell(left, run && plumbline.cellName(run.activation, run.init, run.layers));
    left.querySelector(".to-run").hidden = !run;
    plumbline.fade(left, rows.length === sweep.rows.length ? null : rows);

    const right = plumbline.piece(table, "runs", [sweep.key, columns], (place) => {
      place.append(
        el("h2", {}, "Runs", jump("to the map", ".index-map", ".map button[tabindex='0']")),
        el(
          "div",
          { class: "controls" },
          el("span", { class: "count", role: "status" }),
          chooser(sweep, columns),
          plumbline.button("Clear the filters", () => state.set(cleared()), { id: "clear" }),
          plumbline.button("CSV of these runs", () => saveRows(sweep, place.table.rows()), {
            id: "rows-csv",
            title: "in the order of the table, with all columns",
          }),
        ),
        el("p", { class: "note", id: "how-to-filter" }, "Filters: numbers as > 0.9, 5..20 or > 2 < 9; texts by a part, =exactly or !without; a, b for either."),
        el("div", { class: "misread" }),
      );
      const stage = el("div", { class: "table-stage" });
      place.append(stage, el("p", { class: "note in-print" }));
      place.table = plumbline.runTable(stage, sweep, {
        columns,
        filters,
        sort: state.get("sort"),
        run: run?.run,
        reveal: lately,
        on: {
          open: (row) => openRun(sweep, row),
          filter: (changed) =>
            state.set(Object.fromEntries(Object.entries(changed).map(([name, text]) => [`f.${name}`, text])), true),
          sort: (text) => state.set({ sort: text }, true),
        },
      });
    });
    right.className = "index-runs";
    right.table.update(filters, run?.run);
    right.querySelector(".count").textContent = `${rows.length} of ${sweep.rows.length} runs`;
    right.querySelector("#clear").hidden = !Object.keys(filters).length;
    const lacks = [...plumbline.misread(sweep, filters), ...unknown(sweep, quantities)];
    plumbline.piece(right.querySelector(".misread"), "misread", lacks, (place) =>
      place.append(...lacks.map(plumbline.sentence)),
    );
    right.querySelector(".in-print").textContent =
      `Printed are the first rows of ${rows.length}; "CSV of these runs" on the page saves all of them.`;

    const asked = state.get("run");
    const key = [sweep.key, asked, ...["band", "epochs", "stats", "maps", "compare"].map((name) => state.get(name))];
    const shown = plumbline.piece(host, "run", [...key, plumbline.dark()], (place) => {
      if (run) {
        plumbline.showRun(place, sweep, run);
        place.querySelector("[role=toolbar]").after(plumbline.twins(sweep, run));
        place.querySelector("#run").setAttribute("tabindex", "-1");
      } else if (asked)
        place.append(
          plumbline.sentence(`There is no run ${asked} in this sweep; choose one in the map or in the table.`),
        );
      else
        place.append(el("p", { class: "note" }, "Choose a cell of the map or a row of the table: its run opens here."));
    });
    shown.classList.add("one-run");
    shown.dataset.run = asked ?? "";
    scrollToRun();
  };

  /** A button to a part of the page that may lie far below or above; "jump": where they do not stand beside each other. */
  const jump = (text, place, target, kind = "jump") =>
    plumbline.button(
      text,
      () => {
        reach(document.querySelector(place));
        document.querySelector(target)?.focus({ preventScroll: true });
      },
      { class: kind },
    );

  const cleared = () => Object.fromEntries(Object.keys(state.all("f.")).map((name) => [`f.${name}`, null]));

  /** A sentence on each choice in the address that this sweep does not have. */
  function unknown(sweep, quantities) {
    const columns = state.list("cols").filter((name) => name && !sweep.columns.includes(name));
    const by = state.get("sort")?.split(":")[0];
    const map = state.get("map");
    const settings = sweep.several.filter((name) => state.get(name) && !sweep.axes[name].map(String).includes(state.get(name)));
    return [
      ...columns.map((name) => `There is no column ${name} here, so that it is not shown.`),
      by && !sweep.columns.includes(by) ? `There is no column ${by} here to sort by.` : "",
      map && !quantities[map] ? `There is no map of ${map} here; it shows the test accuracy at the end.` : "",
      ...settings.map((name) => `No run here has the ${plumbline.label(name)} ${state.get(name)}.`),
    ].filter(Boolean);
  }

  let lately = null; // the column that was chosen last

  /** The columns to choose from. */
  function chooser(sweep, columns) {
    const toggle = (name) => {
      lately = columns.includes(name) ? null : name;
      return sweep.columns.filter((other) => (other === name) !== columns.includes(other));
    };
    return el(
      "details",
      {
        onkeydown: (event) => {
          if (event.key !== "Escape" || !event.currentTarget.open) return;
          event.currentTarget.open = false;
          event.currentTarget.querySelector("summary").focus();
        },
        class: "chooser",
        open: state.get("choose") === "columns",
        ontoggle: (event) => state.set({ choose: event.target.open ? "columns" : null }, true),
      },
      el("summary", { id: "columns" }, "Columns"),
      el(
        "div",
        { class: "choices" },
        sweep.columns.map((name) =>
          plumbline.checkbox(
            plumbline.label(name),
            columns.includes(name),
            () => state.set({ cols: toggle(name) }, true),
            `column-${name}`,
          ),
        ),
      ),
    );
  }

  function saveRows(sweep, rows) {
    const columns = sweep.columns;
    plumbline.save(
      `${sweep.key}.csv`,
      plumbline.csv(
        columns,
        rows.map((row) => columns.map((name) => row[name])),
      ),
      "text/csv",
    );
  }

  /** Open the first run of a cell, or its next one where one of its runs is open already. */
  function openCell(sweep, settings, activation, init, layers) {
    const runs = plumbline
      .atSettings(sweep, settings)
      .filter((row) => row.activation === activation && row.init === init && row.layers === layers);
    if (!runs.length) return;
    const now = runs.findIndex((row) => row.run === state.get("run"));
    openRun(sweep, runs[(now + 1) % runs.length]);
  }

  function openRun(sweep, row) {
    wanted = row.run;
    state.set({ run: row.run, ...Object.fromEntries(sweep.several.map((name) => [name, String(row[name])])) });
    scrollToRun(); // where it is open already, nothing is drawn
  }
  plumbline.openRun = openRun;

  let wanted = null; // the run that is to be scrolled to as soon as it stands there

  function scrollToRun() {
    const place = document.querySelector(".one-run");
    if (!wanted || place?.dataset.run !== wanted) return;
    wanted = null;
    const { top } = place.getBoundingClientRect();
    if (top < 0 || top > innerHeight - 160) reach(place);
  }

  const reach = (place) =>
    place.scrollIntoView({ behavior: plumbline.calm() ? "auto" : "smooth", block: "start" });
})();
