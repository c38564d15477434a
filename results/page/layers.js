// What the layers of a run hold, as helpers/page/layer_numbers.py packs it: differences of whole steps.
"use strict";

(() => {
  /** The numbers of {"log10": [...]} or {"unit": u, "steps": [...]}; `perDecade` steps are a factor of ten. */
  function unpacked(packed, perDecade) {
    const off = plumbline.shareOff(perDecade);
    const value = packed.log10
      ? (step) => plumbline.asKnown(10 ** (step / perDecade), off)
      : (step) => Number((step * packed.unit).toPrecision(6)); // 3 * 0.1 is 0.3
    let last = 0;
    return (packed.log10 ?? packed.steps).map((step) => (step === null ? null : step === false ? 0 : value((last += step))));
  }

  /**
   * By how much one statistic of a run may be off: { share } of it, or { most }, the same for each number. Rounding to the
   * digits that are known adds at most a half to the first.
   */
  plumbline.layersOff = (data, stat, i) => {
    const packed = data.layers?.[stat]?.[i];
    if (!packed || Array.isArray(packed)) return null;
    return packed.log10 ? { share: 1.5 * plumbline.shareOff(data.layers.steps) } : { most: packed.unit / 2 };
  };

  /**
   * One statistic of run i of a sweep: for each of data.layers.epochs an array, a number a layer (null: not known), or
   * null for an epoch of which nothing is known, as after the run diverged. null for a run without a log.
   */
  plumbline.layers = (data, stat, i) => {
    const packed = data.layers?.[stat]?.[i];
    if (!packed) return null;
    const numbers = unpacked(packed, data.layers.steps);
    const { epochs } = data.layers;
    const depth = numbers.length / epochs.length;
    return epochs.map((_, k) => {
      const layers = numbers.slice(k * depth, (k + 1) * depth);
      return layers.every((number) => number === null) ? null : layers;
    });
  };
})();
