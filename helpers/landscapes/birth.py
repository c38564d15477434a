"""The grid of a sweep before its training: the numbers of every run's surface, and whether they tell who will learn.

`birth` draws one small surface a run and keeps a row of numbers of it; `telling` counts how well each number tells who
learned, beside the forecast and beside two rules that look at nothing. The pictures are in `birth_figures.py`.
"""

# written down before the first surface of a sweep was computed
EXPECTED = (
    "Expected: what theory calls vanishing or collapsed stands on a plain, sharpness near 0, roughness near 0, most of "
    "it convex; what it calls exploding stands in ragged mountains; what learns lies between. So sharpness ranks who "
    "learned with an AUC of 0.7 to 0.9, and better between two thresholds than above one; roughness and the convex "
    "share rank worse, the convex share the other way round. No number of the surface calls as many runs right as the "
    "forecast, which is fitted to nothing, and together with the forecast each gains less than 3 % of the runs."
)
