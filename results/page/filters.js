// What a reader writes over a column of the table, and what it means.
"use strict";

(() => {
  const NUMBER = String.raw`[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?`;
  const SIGN = "[<>]=?|[!=]?=|!|≤|≥|≠";
  const RANGE = new RegExp(`^(${NUMBER})\\s*(%?)\\s*(?:\\.\\.\\.?|…|to|-|–|—)\\s*(${NUMBER})\\s*(%?)$`, "i");
  const CONDITIONS = new RegExp(`^(?:(?:${SIGN})\\s*${NUMBER}\\s*%?\\s*(?:and\\b|&&?)?\\s*)+$`, "i");
  const CONDITION = new RegExp(`(${SIGN})\\s*(${NUMBER})\\s*(%?)`, "gi");
  const ONE = new RegExp(`^(${NUMBER})\\s*(%?)$`, "i");
  const BEGUN = /^[<>=!≤≥≠\s.+"'-]*$/; // as one who has not written the number yet
  const TESTS = {
    ">": (a, b) => a > b,
    ">=": (a, b) => a >= b,
    "≥": (a, b) => a >= b,
    "<": (a, b) => a < b,
    "<=": (a, b) => a <= b,
    "≤": (a, b) => a <= b,
  };

  plumbline.FILTERS = {
    numbers: "> 0.9, <= 3, > 2 < 9, 5..20, = 5, != 5; 5, 10: either",
    texts: "a part of the text; =all of it; !without it; a, b: either; !a, !b: neither",
  };

  /**
   * What a filter means for a column of numbers or of texts: { fits, lack }. `fits` is a function of a value, null for a
   * filter that says nothing. `lack` says in words what cannot be understood, and then nothing is filtered.
   */
  plumbline.readFilter = (written, numeric) => {
    const parts = (String(written ?? "").match(/(?:"[^"]*"|[^,|"]|")+?(?=[,|]|$)/g) ?? []).map((part) => part.trim()).filter(Boolean);
    const read = parts.filter((part) => !BEGUN.test(part)).map((part) => [part, numeric ? ofNumbers(part) : ofTexts(part)]);
    const lost = read.find(([, fits]) => !fits);
    if (numeric && /\d,\d/.test(written))
      return {
        fits: null,
        lack: `"${written}" has a comma within a number: write a decimal point (0.9), or a blank after the comma for either of two numbers (5, 10)`,
      };
    if (lost) return { fits: null, lack: `"${lost[0]}" is no condition on a number; these are: ${plumbline.FILTERS.numbers}` };
    if (!read.length) return { fits: null };
    const [without, either] = [true, false].map((not) =>
      read.filter(([part]) => /^[!≠]/.test(part) === not).map(([, fits]) => fits),
    );
    return {
      fits: (value) => (!either.length || either.some((fits) => fits(value))) && without.every((fits) => fits(value)),
    };
  };
  plumbline.filter = (written, numeric) => plumbline.readFilter(written, numeric).fits;

  const numberOf = (word, percent) => (percent ? Number(word) / 100 : Number(word));
  /** Whether a value is this number, or is shown as it. */
  const same = (value, number) => value === number || plumbline.number(value) === String(number);

  /** What a part of a filter asks of a number; null where it cannot be understood. */
  function ofNumbers(part) {
    const range = part.match(RANGE);
    if (range) {
      const [low, high] = [numberOf(range[1], range[2] || range[4]), numberOf(range[3], range[4])];
      return (value) => value != null && value >= low && value <= high;
    }
    const one = part.match(ONE);
    if (!one && !CONDITIONS.test(part)) return null;
    const asked = one ? [[null, "=", one[1], one[2]]] : [...part.matchAll(CONDITION)];
    const tests = asked.map(([, sign, word, percent]) => {
      const limit = numberOf(word, percent);
      if (TESTS[sign]) return (value) => TESTS[sign](value, limit);
      return /^[!≠]/.test(sign) ? (value) => !same(value, limit) : (value) => same(value, limit);
    });
    return (value) => value != null && tests.every((test) => test(value));
  }

  const text = (value) =>
    (value == null ? "" : typeof value === "boolean" ? (value ? "yes" : "no") : String(value)).toLowerCase();

  /** What a part of a filter asks of a text: a part of it, or all of it after = and in quotes. */
  function ofTexts(part) {
    const [, sign = "", rest] = part.match(/^(!=|==|!|=|≠)?\s*(.*)$/);
    const quoted = rest.match(/^(["'])(.*)\1$/);
    const wanted = (quoted ? quoted[2] : rest).toLowerCase();
    const fits =
      quoted || /[=≠]/.test(sign) ? (value) => text(value) === wanted : (value) => text(value).includes(wanted);
    return /^[!≠]/.test(sign) ? (value) => !fits(value) : fits;
  }

  plumbline.isNumeric = (sweep, column) => {
    const known = sweep.rows.find((row) => row[column] != null)?.[column];
    return known === undefined || typeof known === "number";
  };

  /** The runs that the filters of the address leave. */
  plumbline.matching = (sweep, filters) => {
    const tests = Object.entries(filters)
      .filter(([column]) => sweep.columns.includes(column))
      .map(([column, wanted]) => [column, plumbline.filter(wanted, plumbline.isNumeric(sweep, column))])
      .filter(([, fits]) => fits);
    return tests.length ? sweep.rows.filter((row) => tests.every(([column, fits]) => fits(row[column]))) : sweep.rows;
  };

  /** A sentence on each filter that cannot be understood, and that therefore filters nothing. */
  plumbline.misread = (sweep, filters) =>
    Object.entries(filters).flatMap(([column, wanted]) => {
      if (!sweep.columns.includes(column)) return [`There is no column ${column} here, so that its filter leaves all runs.`];
      const { lack } = plumbline.readFilter(wanted, plumbline.isNumeric(sweep, column));
      return lack ? [`The filter of ${plumbline.label(column)} leaves all runs: ${lack}.`] : [];
    });

  const MOST_OFFERED = 40;

  /** The values that a column's filter offers, as a filter says them exactly; none of a column of measured numbers. */
  plumbline.offered = (sweep, column) => {
    const values = plumbline.unique(sweep.rows.map((row) => row[column])).filter((value) => value != null);
    if (values.length > MOST_OFFERED) return [];
    if (!plumbline.isNumeric(sweep, column)) return values.map((value) => `=${/[,|]/.test(value) ? JSON.stringify(value) : plumbline.shown(value)}`);
    return values.every(Number.isInteger) ? values.sort((a, b) => a - b).map(String) : [];
  };
})();
