"""A map of a study fitted once more, as from its row in pairs.csv.bz2: tables hold numbers, no maps."""

from helpers.stitching import evaluate_many, fit
from helpers.stitching_study.rows import numeric
from helpers.stitching_study.stitches import anchors_of


def again(row, pool, held_out, settings):
    """(Map, its dict of `evaluate_many`) of a row of pairs.csv.bz2.

    pool, held_out  the two Pairs that `StitchingStudy.pair` gives for the row's networks
    settings        of the row's part: study.settings.parts[row.part]
    """
    lam = numeric(row.to_frame().T).iloc[0]
    how = {"lam": "gcv" if lam != lam else float(lam), "draw": int(row.draw)}
    map = fitted_as(settings, pool, row.mapping, row.sampling, int(row.num_samples), **how)
    return map, evaluate_many(held_out, [map])[0]


def fitted_as(settings, pool, kind, sampling, number, lam="gcv", draw=0):
    """The Map of a kind that a study with these settings fits on a draw of anchors. Raises StitchError.

    settings  of a part, of which `map_settings` count
    """
    anchors = pool[anchors_of(pool, sampling, number, draw)]
    own = settings["map_settings"].get(kind, {})
    return fit(kind, anchors.source, anchors.target, lam=lam, seed=draw, **own)
