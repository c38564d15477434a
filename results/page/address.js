// The address of the page holds all that the reader has chosen: #study=digits&sweep=digits&run=...
// A reload, a bookmark and a link that is sent show the same.
"use strict";

plumbline.state = (() => {
  const read = () => new URLSearchParams(location.hash.slice(1));
  const listeners = [];

  /** The hash of the present choices with some changed; null takes a choice away. */
  const link = (changes, present = read()) => {
    for (const [name, value] of Object.entries(changes)) {
      if (value == null || value === "" || (Array.isArray(value) && !value.length)) present.delete(name);
      else present.set(name, Array.isArray(value) ? value.map(encodeURIComponent).join(" ") : String(value));
    }
    return `#${present}`;
  };

  return {
    get: (name, otherwise = null) => read().get(name) ?? otherwise,

    /** A choice of several values, a list; `otherwise` where nothing is chosen. */
    list: (name, otherwise = []) => read().get(name)?.split(" ").map(decode) ?? otherwise,

    /** All choices whose names begin with `start`: { name without the start: value }. */
    all: (start) =>
      Object.fromEntries(
        [...read()]
          .filter(([name]) => name.startsWith(start))
          .map(([name, value]) => [name.slice(start.length), value]),
      ),

    link,

    /** The address of another place of the page. What is compared goes along. */
    place: (choices) => link({ compare: read().get("compare"), ...choices }, new URLSearchParams()),

    /** Change choices, null to take one away. `quietly`: the back button skips it, as for a sort order. */
    set(changes, quietly = false) {
      const address = link(changes);
      if (address === `#${read()}`) return;
      history[quietly ? "replaceState" : "pushState"](null, "", address);
      listeners.forEach((listen) => listen());
    },

    listen(listen) {
      listeners.push(listen);
      addEventListener("hashchange", listen);
      addEventListener("popstate", listen);
    },
  };

  function decode(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // an address that somebody typed
    }
  }
})();
