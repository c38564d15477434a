// The list of the studies, and the page of one: question and answer, below them a sweep, a part or its pictures.
"use strict";

(() => {
  const { el, state } = plumbline;

  const FIRST_PICTURES = 12; // the others are folded away

  plumbline.views = {}; // kind of a part: function (place, content, state, set) that draws it

  /** What of a study can be looked at: its main sweep first. */
  const partsOf = ({ key, sweeps, parts }) => [
    ...[...sweeps].sort((a, b) => (b.name === key) - (a.name === key)).map((one) => ({ ...one, what: "sweep" })),
    ...parts.map((one) => ({ ...one, what: "part" })),
  ];

  plumbline.showHome = (host) => {
    const all = plumbline.allStudies();
    host.append(
      el("h1", {}, "What was found"),
      el("p", { class: "lead" }, "Each study asks one question. Open one to see its runs, curves and numbers."),
    );
    if (!all.length)
      host.append(
        plumbline.sentence(
          "There are no results here yet: `make run` trains the first sweep, and `make gallery` writes this page.",
        ),
      );
    for (const [title, list] of [
      ["", all.filter(({ own }) => !own)],
      ["Your own", all.filter(({ own }) => own)],
    ]) {
      if (!list.length) continue;
      host.append(
        title ? el("h2", {}, title) : "",
        el(
          "ul",
          { class: "studies" },
          list.map((study) =>
            el(
              "li",
              {},
              el(
                "div",
                {},
                el(
                  "a",
                  { href: state.place({ study: study.key }), class: "study" },
                  study.own ? null : el("span", { class: "aside" }, `${study.key}: `),
                  study.title ?? "",
                ),
                // the longer question stands on the study's own page
                study.question && !study.title?.endsWith("?")
                  ? el("p", { class: "question" }, plumbline.rich(study.question))
                  : null,
                study.short || study.answer
                  ? el("p", { class: "answer" }, plumbline.rich(study.short || study.answer))
                  : null,
                el("p", { class: "note" }, contents(study)),
              ),
              study.picture ? thumbnail(study) : null,
            ),
          ),
        ),
      );
    }
  };

  /** The picture that stands for a study; one that is missing leaves no gap. It repeats the link above it. */
  function thumbnail({ key, picture }) {
    const image = el("img", { src: plumbline.path(picture), alt: "", loading: "lazy" });
    image.addEventListener("error", () => image.parentNode.remove());
    return el("a", { href: state.place({ study: key }), class: "thumbnail", tabindex: "-1", "aria-hidden": "true" }, image);
  }

  function contents({ sweeps, parts, pictures }) {
    const runs = d3.sum(sweeps, ({ runs }) => runs);
    const learned = sweeps.every((sweep) => sweep.learned != null)
      ? `, ${d3.sum(sweeps, (sweep) => sweep.learned).toLocaleString("en")} learned`
      : "";
    const data = plumbline.unique(sweeps.map(({ dataset }) => dataset).filter(Boolean)).join(", ");
    return [
      sweeps.length
        ? `${sweeps.length > 1 ? `${sweeps.length} sweeps, ` : ""}${runs.toLocaleString("en")} runs${learned}${data ? `, on ${data}` : ""}`
        : "",
      parts.length ? plumbline.unique(parts.map(({ kind }) => kind)).join(", ") : "",
      pictures.length ? plumbline.counted(pictures.length, "picture") : "",
    ]
      .filter(Boolean)
      .join(" · ");
  }

  /** Load what of a study is looked at; returns a function that draws it. */
  plumbline.showStudy = async (host, study) => {
    const entry = chosen(study);
    let content, lack;
    try {
      if (entry?.what === "sweep") content = await plumbline.loadSweep(entry);
      if (entry?.what === "part") content = await plumbline.loadPart(entry);
    } catch (error) {
      lack = error.message;
    }
    return () => {
      plumbline.piece(host, "head", [study.key, entry?.key ?? null, state.get("compare")], (place) =>
        head(place, study, entry),
      ).className = "study-head";
      const name = `body ${entry?.what} ${entry?.key}`;
      for (const piece of [...host.children])
        if (piece.dataset.piece?.startsWith("body") && piece.dataset.piece !== name) piece.remove();
      if (!entry)
        plumbline.piece(host, "body", [study.key], (place) =>
          about(place, study, state.get("sweep") ?? state.get("part")),
        );
      else if (lack) plumbline.piece(host, name, lack, (place) => place.append(plumbline.sentence(lack)));
      else if (entry.what === "sweep")
        plumbline.showSweep(
          plumbline.piece(host, name, entry.key, () => {}),
          content,
        );
      else
        part(
          plumbline.piece(host, name, Math.random(), () => {}),
          entry,
          content,
        );
    };
  };

  /** What of a study the address asks for: its first sweep, or else its first part, where it asks for nothing. */
  function chosen(study) {
    const all = partsOf(study);
    if (state.get("show") === "pictures") return null;
    const asked = ["sweep", "part"].find((what) => state.get(what));
    return asked ? all.find(({ what, key }) => what === asked && key === state.get(asked)) : all[0];
  }

  function head(place, study, entry) {
    const all = partsOf(study);
    const tab = (text, href, current) => el("li", {}, el("a", { href, "aria-current": current ? "page" : null }, text));
    place.append(
      el("h1", {}, el("span", { class: "aside" }, `${!study.own ? study.key : study.sweeps.length ? "your own sweep" : "your own study"}: `), study.title ?? ""),
      study.question ? el("p", { class: "question" }, plumbline.rich(study.question)) : "",
      study.answer ? el("p", { class: "answer" }, plumbline.rich(study.answer)) : "",
      el(
        "nav",
        { "aria-label": "Parts of this study" },
        el(
          "ul",
          { class: "tabs" },
          all.map(({ what, key, name, kind, title }) =>
            tab(
              what === "part" ? (kind === study.key ? title : `${kind}: ${title}`) : all.length === 1 || name === study.key ? "the sweep" : name,
              state.place({ study: study.key, [what]: key }),
              entry?.what === what && entry.key === key,
            ),
          ),
          tab("pictures and files", state.place({ study: study.key, show: "pictures" }), !entry),
        ),
      ),
    );
  }

  /** The pictures and files of a study. */
  function about(place, study, asked) {
    if (asked)
      place.append(
        plumbline.sentence(`There is nothing called ${asked} in this study; choose one of its parts above.`),
      );
    for (const text of study.damaged ?? []) place.append(plumbline.sentence(text));
    const links = [
      [study.page, "the study's page"],
      ...study.notebooks.map((file) => [file, file]),
      ...study.csvs.map((file) => [file, file]),
    ].filter(([file]) => file);
    place.append(
      el("h2", {}, "Files"),
      el(
        "ul",
        { class: "files", style: links.length > 6 ? "columns: 20em" : null },
        links.map(([file, text]) => el("li", {}, el("a", { href: plumbline.path(file) }, text))),
      ),
      el("h2", {}, "Pictures"),
    );
    if (!study.pictures.length) {
      place.append(el("p", {}, "There are none here; the numbers are in the files above."));
      return;
    }
    const [first, rest] = [study.pictures.slice(0, FIRST_PICTURES), study.pictures.slice(FIRST_PICTURES)];
    place.append(...sections(first, study));
    if (rest.length)
      place.append(
        el("details", { class: "more" }, el("summary", {}, plumbline.counted(rest.length, "more picture")), sections(rest, study)),
      );
  }

  /** Pictures under the headings of the notebook that shows them. */
  function sections(pictures, study) {
    const parts = plumbline.unique(study.pictures.map(({ file }) => partOf(file)));
    return [...d3.group(pictures, ({ section }) => section ?? "")].flatMap(([heading, some]) => [
      heading && !/pictures$/i.test(heading) ? el("h3", {}, heading) : "",
      el(
        "div",
        { class: "pictures" },
        some.map(({ file, sentence }) => picture(file, sentence || file, parts.length > 1 ? partOf(file) : "")),
      ),
    ]);
  }

  /** The folder of a study in which a picture lies: "digits" of critical/digits/figures/a.png. */
  const partOf = (file) => file.split("/").slice(1, -2).join("/").replaceAll("_", " ");

  function picture(file, sentence, part) {
    const show = (event) => event.target.parentElement.replaceWith(plumbline.sentence(`The picture ${file} is not here.`));
    const alt = part ? `${part}: ${sentence}` : sentence;
    return el(
      "figure",
      {},
      el(
        "a",
        { href: plumbline.path(file) },
        el("img", { src: plumbline.path(file), alt, loading: "lazy", onerror: show }),
      ),
      el("figcaption", {}, part ? el("strong", {}, `${part}: `) : null, sentence),
    );
  }

  function part(place, entry, content) {
    const view = plumbline.views[entry.kind];
    if (!view) {
      place.append(plumbline.sentence(`This page has no view for ${entry.kind}.`));
      return;
    }
    const set = (changes) =>
      state.set(Object.fromEntries(Object.entries(changes).map(([name, value]) => [`v.${name}`, value])), true);
    view(place, content, state.all("v."), set);
  }
})();
