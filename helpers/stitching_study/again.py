"""A map of a study fitted once more, from its row in pairs.csv: tables hold numbers, no maps."""

from helpers.stitching import evaluate_many, fit
from helpers.stitching_study.rows import numeric
from helpers.stitching_study.stitches import anchors_of


def again(row, pool, held_out, settings):
    """(Map, its dict of `evaluate_many`) of a row of pairs.csv.

    pool, held_out  the two Pairs that `StitchingStudy.pair` gives for the row's networks
    settings        of the row's part: study.settings.parts[row.part]
    """
    anchors = pool[anchors_of(pool, row.sampling, int(row.num_samples), int(row.draw))]
    lam = numeric(row.to_frame().T).iloc[0]
    how = {"lam": "gcv" if lam != lam else float(lam), "seed": int(row.draw)}
    map = fit(row.mapping, anchors.source, anchors.target, **how, **settings["map_settings"].get(row.mapping, {}))
    return map, evaluate_many(held_out, [map])[0]
