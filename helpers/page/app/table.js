// The table of a sweep's runs: sort, filter (numbers too), choose columns. Tabulator draws only the rows that are seen.
"use strict";

(() => {
  const { el } = plumbline;
  // what is shown where nothing is chosen, the most wanted first: as many as there is room for
  const WANTED = ["activation", "init", "layers", "final_test_acc", "outcome", "seed", "epochs_to_95", "left_plateau"];
  const MORE = ["best_test_acc", "final_train_acc", "final_test_loss", "seconds"];

  const narrow = () => matchMedia("(max-width: 520px)").matches; // there style.css makes the letters smaller
  const SCROLLBAR = 13; // pixels; style.css makes it thin
  const [FILTER, WIDEST] = [2.6, 15]; // least and greatest width of what stands in a column, over the letters' size

  /** The width in which a column's name, its filter and its values stand uncut; a very long text is cut, and says so. */
  function width(sweep, field) {
    const known = (sweep.widths ??= new Map());
    if (!known.has(field)) {
      const some = plumbline.isNumeric(sweep, field) ? Math.ceil(sweep.rows.length / 500) : 1; // numbers are much alike
      const different = plumbline.unique(sweep.rows.filter((_, i) => i % some === 0).map((row) => row[field]));
      const values = different.map((one) => aligned(field, one));
      const longest = plumbline.widest(values.sort((a, b) => b.length - a.length).slice(0, 200));
      const heading = headingWidth(plumbline.label(field).split(" "));
      known.set(field, Math.max(FILTER, heading, Math.min(longest, WIDEST)));
    }
    const [letter, padding] = narrow() ? [11, 8] : [13, 16];
    return Math.ceil(known.get(field) * letter * 1.02 + padding);
  }

  // the arrow of the order stands beside the first line, where style.css keeps so much free, or below a single word
  const ARROW = 1.1;

  /** The width of a heading in at most two lines. */
  const headingWidth = (words) => {
    const wide = (some) => plumbline.widest([some.join(" ")], 600);
    if (words.length === 1) return wide(words);
    return d3.min(d3.range(1, words.length), (i) => Math.max(wide(words.slice(0, i)) + ARROW, wide(words.slice(i))));
  };

  /** The columns that are chosen, or else those that stand in so many pixels, among them those that were filtered. */
  plumbline.shownColumns = (sweep, room = Infinity, filtered = []) => {
    const chosen = plumbline.state.list("cols", []).filter((column) => sweep.columns.includes(column));
    return chosen.length ? chosen : usual(sweep, room, filtered);
  };

  function usual(sweep, room, filtered) {
    const wanted = [...WANTED.slice(0, 4), ...sweep.several, ...WANTED.slice(4), ...MORE];
    const apart = sweep.axes.seed.length > 1 ? ["seed"] : []; // without it several rows would look alike
    const taken = new Set([...WANTED.slice(0, 3), ...apart, ...filtered.filter((column) => sweep.columns.includes(column))]);
    let left = room - SCROLLBAR - d3.sum(taken, (column) => width(sweep, column));
    for (const column of wanted) {
      if (taken.has(column) || !sweep.columns.includes(column)) continue;
      left -= width(sweep, column);
      if (left < 0) break;
      taken.add(column);
    }
    const places = ["activation", "init", "layers", ...sweep.several, "seed", "outcome", ...sweep.columns];
    return plumbline.unique(places).filter((column) => taken.has(column));
  }

  const tables = new Map(); // the place of a table: the table, which Tabulator keeps until it is destroyed

  /**
   * The table in `host`. on: { open(row), filter(filters), sort(text) }; reveal: the column that is to be in sight
   * Returns { update(filters, run), rows() }: which rows are left, which one is marked.
   */
  plumbline.runTable = (host, sweep, { columns, filters, sort, run, on, reveal }) => {
    const stage = el("div", { class: "runs", "aria-label": "Runs" });
    host.append(stage);
    for (const [place, gone] of tables) {
      if (place.isConnected) continue;
      gone.destroy();
      tables.delete(place);
    }
    let marked = run;
    let current = filters;
    let quiet = true;
    const [by, direction] = sort?.split(":") ?? [];
    const table = new Tabulator(stage, {
      data: sweep.rows,
      index: "index",
      height: "100%",
      layout: "fitColumns",
      nestedFieldSeparator: false,
      columnHeaderSortMulti: false,
      movableColumns: false,
      placeholder: "No run matches these filters.",
      initialSort: sweep.columns.includes(by) ? [{ column: by, dir: direction === "desc" ? "desc" : "asc" }] : [],
      columnDefaults: { headerSortTristate: true, headerTooltip: false, tooltip: false, resizable: false },
      columns: columns.map((field) => ({
        field,
        title: field,
        titleFormatter: () => title(field),
        formatter: (cell) => {
          const text = aligned(field, cell.getValue());
          return el("span", { title: text }, text);
        },
        sorter: compare,
        hozAlign: plumbline.isNumeric(sweep, field) ? "right" : "left",
        headerHozAlign: "left",
        cssClass: [plumbline.isNumeric(sweep, field) && "of-numbers", !plumbline.label(field).includes(" ") && "one-word"]
          .filter(Boolean)
          .join(" "),
        minWidth: width(sweep, field),
        widthGrow: Math.round(width(sweep, field) / 20),
      })),
      rowFormatter: (row) => row.getElement().setAttribute("aria-selected", String(row.getData().run === marked)),
    });
    tables.set(stage, table);
    table.on("rowClick", (_, row) => on.open(row.getData()));
    table.on("dataSorted", (sorters) => {
      if (quiet) return;
      const [first] = sorters;
      on.sort(first ? `${first.field}:${first.dir}` : null);
    });
    table.on("tableBuilt", () => {
      if (Object.keys(filters).length) sift(filters);
      quiet = false;
      oneTabStop();
      show(marked);
      if (columns.includes(reveal)) table.scrollToColumn(reveal, "middle", false).catch(() => {}); // it is in sight already
      host.dataset.rows = table.getDataCount("active");
    });

    function sift(wanted) {
      const left = new Set(plumbline.matching(sweep, wanted));
      table.setFilter((row) => left.has(row));
    }

    function title(field) {
      const id = `filter-${field}`;
      const numeric = plumbline.isNumeric(sweep, field);
      const values = plumbline.offered(sweep, field).map((value) => el("option", { value }));
      const offers = el("datalist", { id: `offered-${field}` }, values);
      const input = el("input", {
        id,
        type: "search",
        "aria-label": `filter ${plumbline.label(field)}`,
        placeholder: numeric ? "> 0" : "text",
        title: numeric ? plumbline.FILTERS.numbers : plumbline.FILTERS.texts,
        list: offers.children.length ? offers.id : null,
        value: filters[field] ?? "",
        autocomplete: "off",
        spellcheck: "false",
      });
      input.addEventListener("input", () => on.filter({ ...current, [field]: input.value }));
      for (const event of ["click", "mousedown", "keydown", "keyup"])
        input.addEventListener(event, (e) => e.stopPropagation());
      return el("div", { class: "head" }, el("span", { title: plumbline.label(field) }, plumbline.label(field)), input, offers);
    }

    /** The headings are one tab stop, the rows another; arrow keys move within. */
    function oneTabStop() {
      const heads = [...stage.querySelectorAll(".tabulator-col")];
      const holder = stage.querySelector(".tabulator-tableholder");
      plumbline.roving(stage.querySelector(".tabulator-headers"), () => heads);
      for (const head of heads) {
        head.addEventListener("keydown", (event) => {
          if (event.target !== head || (event.key !== "Enter" && event.key !== " ")) return;
          event.preventDefault();
          head.querySelector(".tabulator-col-content").click();
        });
      }
      holder.setAttribute("aria-label", "Runs: arrow keys choose one, Enter opens it");
      holder.addEventListener("keydown", (event) => {
        const rows = table.getRows("active");
        const now = rows.findIndex((row) => row.getData().run === marked);
        const to = {
          ArrowDown: now + 1,
          ArrowUp: now - 1,
          Home: 0,
          End: rows.length - 1,
          PageDown: now + 10,
          PageUp: now - 10,
        }[event.key];
        if (event.key === "Enter" && now >= 0) on.open(rows[now].getData());
        if (to === undefined || !rows.length) return;
        event.preventDefault();
        show(rows[Math.max(0, Math.min(rows.length - 1, to))].getData().run);
      });
    }

    function show(name) {
      marked = name;
      for (const line of stage.querySelectorAll(".tabulator-row[aria-selected='true']"))
        line.setAttribute("aria-selected", "false");
      const row = name && sweep.byRun.get(name);
      const found = row && table.getRow(row.index);
      if (!found) return;
      found.getElement().setAttribute("aria-selected", "true");
      table.scrollToRow(found, "nearest", false).catch(() => {}); // it may be filtered out
    }

    return {
      /** The runs that are left, in the order in which they stand there. */
      rows: () => table.getRows("active").map((row) => sweep.rows[row.getData().index]),

      update(changed, name) {
        if (JSON.stringify(changed) !== JSON.stringify(current)) {
          current = changed;
          quiet = true;
          sift(changed);
          quiet = false;
          for (const input of stage.querySelectorAll("input[id^='filter-']"))
            if (input !== document.activeElement) input.value = changed[input.id.slice(7)] ?? "";
          host.dataset.rows = table.getDataCount("active");
        }
        if (name !== marked) show(name);
      },
    };
  };

  const value = (given) => (typeof given === "boolean" ? (given ? "yes" : "no") : plumbline.number(given));
  /** In a column: accuracies have four digits, so that their points stand below each other. */
  const aligned = (field, given) =>
    field.endsWith("_acc") && typeof given === "number" ? given.toFixed(4) : value(given);
  plumbline.shown = value;
  plumbline.columnWidth = width;

  /** A value of a run in words: an epoch that never came is "none", that of a run without a log is "unknown". */
  plumbline.known = (row, column) => {
    if (row[column] != null) return value(row[column]);
    return column === "left_plateau" && row.crashed == null ? "unknown" : "none";
  };

  /** Unknown values come first, so that a descending order begins with the largest. */
  function compare(a, b) {
    if (a == null || b == null) return (a == null ? 0 : 1) - (b == null ? 0 : 1);
    return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  }
})();
