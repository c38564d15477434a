// What the address asks for is drawn, now and whenever it changes.
"use strict";

(() => {
  const { el, state } = plumbline;
  const main = document.getElementById("main");
  let asked = 0;
  let place = null; // the page that stands there, drawn anew only where another one is asked for

  async function show(turn) {
    const key = state.get("study");
    const view = ["compare", "maps"].find((name) => name === state.get("view"));
    const study = plumbline.findStudy(key);
    const host = el("div", { class: "page" });
    const name = view ?? (study ? `study ${key}` : "studies");
    let draw;
    if (view === "compare") draw = await plumbline.showCompare(host);
    else if (view === "maps") draw = await plumbline.showMaps(host);
    else if (study) draw = await plumbline.showStudy(name === place ? main.firstChild : host, study);
    else {
      draw = () => {
        if (key) host.append(plumbline.sentence(`There is no study ${key} here; these are there:`));
        plumbline.showHome(host);
      };
    }
    if (turn !== asked) return; // the reader has gone on
    const another = name !== place;
    plumbline.keepFocus(() => {
      if (another || !study || view) main.replaceChildren(host); // a study's page keeps what has not changed
      draw();
    });
    if (another && place !== null) {
      scrollTo(0, 0);
      main.focus({ preventScroll: true }); // so that a screen reader goes on here
    }
    place = name;
    top(view, study);
    document.getElementById("no-view")?.remove();
    const wanted = state.get("view");
    if (wanted && !view) {
      const sentence = plumbline.sentence(`There is no view ${wanted} here; there are "compare" and "maps".`);
      sentence.id = "no-view";
      document.querySelector("header").append(sentence);
    }
    document.title = [document.querySelector("h1")?.textContent, "Plumbline"].filter(Boolean).join(" · ");
    document.body.dataset.shown = location.hash || "#";
    performance.mark("shown");
  }

  function top(view, study) {
    const count = Math.min(plumbline.compared().length, plumbline.MOST_COMPARED);
    const link = (text, href, current) => el("a", { href, "aria-current": current ? "page" : null }, text);
    document
      .getElementById("top")
      .replaceChildren(
        link("Plumbline", state.place({}), !view && !study),
        link("Two maps", state.place({ view: "maps" }), view === "maps"),
        link(`Compare (${count})`, state.place({ view: "compare" }), view === "compare"),
        el("span", { class: "gap" }),
        plumbline.button("Copy link", copy, { id: "copy-link" }),
      );
  }

  /**
   * What "Copy link" copies: the address, or, of a page opened by double click, what holds on another computer as well.
   * An address that begins with file:// names folders of this one.
   */
  function linkToSend() {
    if (location.protocol !== "file:") return location.href;
    const key = state.get("study") ?? "";
    const own = plumbline.findStudy(key)?.own
      ? ` It shows a sweep of my own: results/local/${plumbline.findStudy(key).title} and results/local/page have to be there as well.`
      : "";
    return `results/index.html${location.hash}\nOpen results/index.html in your own copy of Plumbline, and put what begins with # behind its address.${own}`;
  }

  async function copy() {
    const text = linkToSend();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // the only way of a page that may not use the clipboard, as one opened by double click may not
      const field = el("textarea", {}, text);
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    const button = document.getElementById("copy-link");
    button.textContent = "Link copied";
    button.focus();
    setTimeout(() => (document.getElementById("copy-link").textContent = "Copy link"), 2000);
  }

  function fail(error) {
    main.replaceChildren(
      plumbline.sentence(
        `This view could not be drawn (${error.message ?? error}); the start of the page is one click away.`,
      ),
      el("a", { href: "#" }, "To the studies"),
    );
    place = null;
    document.body.dataset.shown = location.hash || "#";
  }
  async function safely() {
    const turn = ++asked;
    try {
      await show(turn);
    } catch (error) {
      console.error(error);
      if (turn === asked) fail(error); // or else another view stands there by now, or is on its way
    }
  }

  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  document
    .getElementById("foot")
    .append(
      "Nothing on this page is loaded from elsewhere, and nothing is sent. ",
      "Libraries: d3, Observable Plot, Tabulator, vis-graph3d (",
      el("a", { href: "page/vendor/LICENSES.txt" }, "licences"),
      ").",
    );
  state.listen(safely);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", safely);
  if (!plumbline.allStudies().length) console.info("page/studies.js holds no study");
  // the reader's own sweeps, where there are any
  plumbline
    .script("local/page/studies.js")
    .catch(() => {})
    .finally(safely);
})();
