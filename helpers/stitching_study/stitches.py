"""The works of a stitching study on two networks: maps between them at one layer each, or between all their layers."""

import itertools
import time
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from helpers import stitching
from helpers.lanes import NothingToDo
from helpers.networks import cut
from helpers.stitching import StitchError, choose, control_latents, evaluate_many, image_controls, pair_of
from helpers.stitching.anchors import STRATEGIES
from helpers.stitching.controls import control_numbers, identity
from helpers.stitching.maps import KINDS
from helpers.stitching.similarity import Described, similarities
from helpers.stitching_study.log import BY_IMAGE, KEPT, NUMBERS, OF_LAYERS, SIMILARITY, TABLES

WHICH = ("layer1", "layer2", "sampling", "draw", "num_samples", "mapping", "lambda")  # map a row is of
MOST_HELD = 20_000_000  # numbers of latents that wait to be decoded together, 80 MB


def diverged(plan, which, last):
    """The work of two networks one of which diverged: rows that say so, and no numbers."""
    table = "layers" if plan.do == "layers" else "pairs"
    return NothingToDo(last, {"about": {}, "rows": {table: [{"note": f"{which} diverged in its training"}]}})


class Stitching:
    """Maps of one pair of networks: latents once, then a strategy and a draw of anchors a step.

    images     (indices of the pool of anchors, indices of the test images to measure by)
    untrained  the first network before training, cut as the first, for the controls
    kept       {table: rows} that are there already
    """

    def __init__(self, plan, data, cuts, images, untrained, kept=None):
        self.plan, self.data, self.cuts, self.images, self.untrained = plan, data, cuts, images, untrained
        self.kept = kept or {}
        self.there = {which(row) for row in self.kept.get("pairs", ())}
        s = plan.settings
        self.blocks = list(itertools.product(s["sampling"], range(s["draws"])))
        self.step, self.rows, self.train = -1, {table: [] for table in ("pairs", "classes", "errors", "images")}, None

    def _prepare(self):
        self.train, self.test = pairs_of(self.data, self.cuts, self.images)
        pool, held_out = self.images
        self.plain = self.untrained.encode(self.data.x_train[pool]), self.untrained.encode(self.data.x_test[held_out])
        self.alike = similarities(Described(self.test.source), Described(self.test.target))
        self.controls = image_controls(self.test)
        if self.plan.settings["control_draws"] != 0:
            found = measured(self.test, [identity(self.test)])[0]
            self.as_it_is = {} if isinstance(found, StitchError) else control_numbers("identity", found)

    def advance(self, stop=None):
        if self.step >= 0:
            found = self._block(*self.blocks[self.step], stop)
            if found is None:
                return None
            for table, rows in found.items():
                self.rows[table] += rows
        self.step += 1
        return self.figures()

    def _block(self, sampling, draw, stop):
        """{table: rows} of one draw of anchors, None when stopped."""
        s, rows, waiting = self.plan.settings, {table: [] for table in self.rows}, []
        controlled = s["control_draws"] is None or draw < s["control_draws"]
        for n in s["anchors"]:
            first = {"sampling": sampling, "num_samples": n, "draw": draw}
            if not (asked := asked_of(s, first, self.there)):
                continue
            if self.train is None:
                self._prepare()
            try:
                index = anchors_of(self.train, sampling, n, draw)
            except StitchError as error:
                rows["pairs"].append({**first, **self.alike, "note": str(error)})
                continue
            anchors = self.train[index]
            for row, found, fit in fitted(anchors, s, draw, asked):
                if stop is not None and stop.now.is_set():
                    return None
                row = {**first, **row, **self.alike}
                latents = self._latents(row, found)
                if latents and controlled:
                    latents |= self._of_controls(row, fit, anchors, index)
                if latents:
                    waiting.append((row, latents))
                else:
                    rows["pairs"].append(row)
                if sum(z.numel() for _, those in waiting for z in those.values()) > MOST_HELD:
                    self._evaluate(waiting, rows)
                    waiting = []
        self._evaluate(waiting, rows)
        return rows

    def _latents(self, row, found):
        """{"": the latents that a map gives}, empty where there is no map or they are not finite: the row says why."""
        try:
            return {"": mapped(found, self.test.source)} if found else {}
        except StitchError as error:
            row["note"] = str(error)
            return {}

    def _of_controls(self, row, fit, anchors, index):
        """{control: its latents} of those that can be had; the row says what cannot."""
        plain = self.plain[0][index], self.plain[1]
        try:
            found = control_latents(fit, anchors, self.test, untrained=plain, seed=row["draw"])
        except StitchError as error:
            row["note"] = _also(row, f"No controls: {error}")
            return {}
        del found["identity"]  # which is measured once
        there = {name: z.to(self.test.target) for name, z in found.items() if z is not None}
        return {name: z for name, z in there.items() if torch.isfinite(z).all()}

    def _evaluate(self, waiting, rows):
        """Add the rows of maps whose latents have waited to be decoded together."""
        if not waiting:
            return
        numbers = iter(measured(self.test, [z.to(self.test.target) for _, those in waiting for z in those.values()]))
        for row, those in waiting:
            found = {name: next(numbers) for name in those}
            own = found.pop("")
            if isinstance(own, StitchError):
                rows["pairs"].append({**row, "note": _also(row, own)})
                continue
            controls = self.controls | (self.as_it_is if found else {})
            for name, of in found.items():
                if isinstance(of, StitchError):
                    row["note"] = _also(row, f"No {name}: {of}")
                else:
                    controls |= control_numbers(name, of)
            rows["pairs"].append({**row, **{name: own[name] for name in NUMBERS}, **controls})
            first = {name: row.get(name) for name in ("sampling", "mapping", "lambda", "lambda_used", "num_samples")}
            first["draw"] = row["draw"]
            rows["images"].append({**first, **{name: own[name] for name in KEPT}})
            of_parents = {
                f"{what}_{i}": float(value)
                for i, errors in ((1, self.test.errors_1), (2, self.test.errors_2))
                for what, value in (("mean", errors.mean()), ("variance", errors.var(correction=0)))
            }
            rows["errors"].append(
                {**first, **of_parents, "error_mean": own["error_mean"], "error_variance": own["error_variance"]}
            )
            a, b = self.plan.model1, self.plan.model2
            for c in next(iter(own["classes"].values()), {}):
                seen = {f"seen_{i}": m.classes is None or c in m.classes for i, m in ((1, a), (2, b))}
                by_class = {name: own["classes"][name][c] for name in BY_IMAGE}
                rows["classes"].append({**first, "class": c, **seen, **by_class})

    def figures(self):
        last = self.rows["pairs"][-1] if self.rows["pairs"] else {}
        known = {"error": last.get("mse_stitched"), "accuracy": last.get("accuracy_stitched")}
        return {name: value for name, value in known.items() if value is not None and np.isfinite(value)}

    def state(self):
        return {"step": self.step, "rows": self.rows}

    def load(self, state):
        self.step, self.rows = state["step"], state["rows"]

    def results(self):
        return {"about": {}, "rows": together(self.kept, self.rows, self.plan.settings)}


class Layers:
    """Maps from every layer of one network to every layer of another: latents once, then a layer of the first a step.

    Each beside the same kind of map from what has learned nothing: the pixels, and the first network before training.

    nets       both networks
    layers     the names of the layers of each
    untrained  the first network before training
    learned    whether each has learned
    kept       {"layers": rows} that are there already
    """

    def __init__(self, plan, data, nets, layers, images, untrained, learned, kept=None):
        self.kept = kept or {}
        self.there = {which(row) for row in self.kept.get("layers", ())}
        self.plan, self.data, self.nets, self.layers = plan, data, nets, layers
        self.images, self.untrained, self.learned = images, untrained, learned
        self.step, self.rows, self.latents = -1, [], None

    def _prepare(self):
        """Latents of every layer; errors and answers of a network are the same wherever it is cut."""
        self.cuts = [
            {name: cut(net, name) for name in names} for net, names in zip(self.nets, self.layers, strict=True)
        ]
        ends = tuple(list(those.values())[-1] for those in self.cuts)
        train, self.test = pairs_of(self.data, ends, self.images)
        s, self.index = self.plan.settings, {}
        for sampling, draw, n in itertools.product(s["sampling"], range(s["draws"]), s["anchors"]):
            self.index[sampling, draw, n] = anchors_of(train, sampling, n, draw)
        used = np.unique(np.concatenate(list(self.index.values())))
        self.train, self.place = train[used], {int(i): at for at, i in enumerate(used)}
        self.latents = [
            {name: (one.encode(self.train.x), one.encode(self.test.x)) for name, one in those.items()}
            for those in self.cuts
        ]
        pixels = self.train.x.flatten(1), self.test.x.flatten(1)
        self.unlearned, self.of_pixels, self.paths = {"pixels": pixels}, {}, {}
        self.described = [{name: Described(test) for name, (_, test) in those.items()} for those in self.latents]
        self.plain = {"pixels": Described(pixels[1])}

    def advance(self, stop=None):
        if self.latents is None:
            self._prepare()
        if self.step >= 0:
            rows, layer1 = [], self.layers[0][self.step]
            plain = cut(self.untrained, layer1)
            self.unlearned["untrained"] = plain.encode(self.train.x), plain.encode(self.test.x)
            self.plain["untrained"] = Described(self.unlearned["untrained"][1])
            self.paths = {key: path for key, path in self.paths.items() if key[0] == "pixels"}
            for layer2 in self.layers[1]:
                if stop is not None and stop.now.is_set():
                    return None
                rows += self._cell(layer1, layer2)
            self.rows += rows
        self.step += 1
        return self.figures()

    def _cell(self, layer1, layer2):
        """Rows of the maps from a layer to another, beside those from the controls: all decoded together."""
        first = {"cut_a": self.cuts[0][layer1], "cut_b": self.cuts[1][layer2]}
        train, test = (
            replace(pair, **first, source=self.latents[0][layer1][i], target=self.latents[1][layer2][i])
            for i, pair in enumerate((self.train, self.test))
        )
        same = {"layer1": layer1, "layer2": layer2, "learned_1": self.learned[0], "learned_2": self.learned[1]}
        same |= similarities(self.described[0][layer1], self.described[1][layer2])
        for name, one in self.plain.items():
            same[f"cka_{name}"] = similarities(one, self.described[1][layer2], ["cka"])["cka"]
        rows, beside, waiting = {}, {"untrained": {}, "pixels": self.of_pixels.get(layer2, {})}, []
        for (sampling, draw, n), index in self.index.items():
            first = {**same, "sampling": sampling, "num_samples": n, "draw": draw}
            asked = asked_of(self.plan.settings, first, self.there)
            places = np.array([self.place[int(i)] for i in index])
            anchors = train[places]
            for name, (known, new) in {"": self.latents[0][layer1], **self.unlearned}.items():
                if name == "pixels" and layer2 in self.of_pixels:
                    continue  # whatever layer1 is
                paths = self.paths.setdefault((name, sampling, draw, n), {})
                given = replace(anchors, source=known[places])
                for row, found, _ in fitted(given, self.plan.settings, draw, asked, paths):
                    del row["seconds"]
                    try:
                        z = mapped(found, new) if found else None
                    except StitchError as error:
                        z, row["note"] = None, str(error)
                    key = (sampling, draw, n, row["mapping"], row["lambda"])
                    if not name:
                        rows[key] = {**first, **row}
                    elif z is None:
                        beside[name][key] = {"note": f"Without {name}: {row['note']}"}
                    if z is not None:
                        waiting.append((name, key, z.to(test.target)))
        for (name, key, _), of in zip(waiting, measured(test, [z for *_, z in waiting]), strict=True):
            if isinstance(of, StitchError):
                if name:
                    beside[name][key] = {"note": f"Without {name}: {of}"}
                else:
                    rows[key]["note"] = _also(rows[key], of)
            elif not name:
                rows[key] |= {column: of[there] for column, there in LAYER_NUMBERS.items()}
            else:
                beside[name][key] = {f"{column}_{name}": of[LAYER_NUMBERS[column]] for column in OF_LAYERS[1:]}
        self.of_pixels[layer2] = beside["pixels"]
        return [_beside(row, *(those.get(key, {}) for those in beside.values())) for key, row in rows.items()]

    def figures(self):
        return {"accuracy": self.rows[-1]["accuracy"]} if self.rows and "accuracy" in self.rows[-1] else {}

    def state(self):
        return {"step": self.step, "rows": self.rows}

    def load(self, state):
        self.step, self.rows = state["step"], state["rows"]

    def results(self):
        return {"about": {}, "rows": together(self.kept, {"layers": self.rows}, self.plan.settings, self.layers)}


def _beside(row, *controls):
    """A row with the columns of its controls; what is missing stands in its note."""
    notes = [said for those in (row, *controls) if (said := those.get("note"))]
    return {name: value for those in (row, *controls) for name, value in those.items()} | {"note": " ".join(notes)}


# what `evaluate_many` calls the columns of `layers`
LAYER_NUMBERS = {name: name for name in ("agreement", "agreement_on_errors", "accuracy_1", "accuracy_2")}
LAYER_NUMBERS |= {"r2": "latent_r2", "r2_within": "latent_r2_within", "accuracy": "accuracy_stitched"}


# ---- what both do


def pairs_of(data, cuts, images):
    """(Pair of the pool of anchors, Pair of the images to measure by)."""
    pool, held_out = images
    parts = ((data.x_train, data.y_train, pool), (data.x_test, data.y_test, held_out))
    return tuple(pair_of(*cuts, x[index], y[index]) for x, y, index in parts)


def anchors_of(train, sampling, n, draw):
    """Places (n,) in the pool of a draw of anchors, which its number is the seed of."""
    given = {"latents": train.source, "labels": train.labels, "errors": train.errors_2}
    needs = STRATEGIES[sampling][1] or ("latents",)  # which every pair has
    return choose(sampling, n, **{name: given[name] for name in needs}, seed=draw)


def fitted(anchors, settings, draw, asked, paths=None):
    """(columns, the Map or None, its fit) of each map and lambda; all lambdas of a ridge from one decomposition.

    asked  {map: its lambdas}
    paths  {ridge: its `path_from` these sources}, filled here: handed in with other targets, none is made again
    """
    for kind, lams in asked.items():
        own, both = settings["map_settings"].get(kind, {}), (anchors.source, anchors.target)
        fits = {lam: partial(stitching.fit, kind, lam=lam, seed=draw, **own) for lam in lams}
        if KINDS[kind].spectrum:
            path = partial(stitching.fit_path, kind, *both, lams, **own)
            if paths is not None:
                path = partial(paths.setdefault(kind, stitching.path_from(kind, both[0], **own)), both[1], lams)
            found, seconds = _tried(path)
            for lam, fit in fits.items():
                yield (
                    *_described(
                        kind, lam, found if isinstance(found, StitchError) else found[lam], seconds / len(lams)
                    ),
                    fit,
                )
            continue
        for lam, fit in fits.items():
            found, seconds = _tried(partial(fit, *both))
            alone = not isinstance(found, StitchError) and found.lam is None  # a map that has no lambda
            yield *_described(kind, "" if alone else lam, found, seconds), fit
            if alone:
                break


def _tried(fit):
    started = time.perf_counter()
    try:
        found = fit()
    except StitchError as error:
        found = error
    return found, time.perf_counter() - started


def _described(kind, lam, found, seconds):
    """(columns, the Map or None) of a Map or of the error in its place."""
    row = {"mapping": kind, "lambda": _text(lam), "seconds": seconds}
    if isinstance(found, StitchError):
        return {**row, "note": str(found)}, None
    return {**row, "lambda_used": found.lam, "note": found.note}, found


def _text(lam):
    return lam if isinstance(lam, str) else f"{lam:.6g}"


# ---- rows that are there already, of a start with other lists


def of_maps(rows, kinds):
    """{table: rows} of some kinds of maps, without the columns that a plan gives.

    Nothing where a row lacks what every row has today: it is of an older table, which had fewer columns.
    """
    found = {}
    for table, those in rows.items():
        those = [row for row in those if row["mapping"] in kinds]
        if table in ("pairs", "layers") and not all(row.get(SIMILARITY[-1]) for row in those):
            return {}
        columns = [*(("layer1", "layer2") if table == "layers" else ()), *TABLES[table]]
        found[table] = [{name: row[name] for name in columns} for row in those]
    return found


def asked_of(settings, first, there):
    """{map: lambdas} that are asked for, without those that are there with the anchors, and layers, of `first`."""
    found = {}
    for kind in settings["maps"]:
        if which({**first, "mapping": kind, "lambda": ""}) not in there:
            each = {lam: which({**first, "mapping": kind, "lambda": _text(lam)}) for lam in settings["lams"]}
            found[kind] = [lam for lam, this in each.items() if this not in there]
    return {kind: lams for kind, lams in found.items() if lams}


def which(row):
    """Which map of which anchors a row is of, as texts; in layers.csv.bz2 between which layers."""
    return tuple(str(row[name]) for name in WHICH if name in row)


def together(kept, rows, settings, layers=((), ())):
    """{table: rows} in the order in which one start makes them, those that are asked for no more before them."""
    lists = [*layers, settings["sampling"], settings["anchors"], settings["maps"], map(_text, settings["lams"])]
    columns = ("layer1", "layer2", "sampling", "num_samples", "mapping", "lambda")
    places = {name: {str(value): i for i, value in enumerate(own)} for name, own in zip(columns, lists, strict=True)}

    def order(row):
        layer1, layer2, sampling, *rest = (places[name].get(str(row.get(name, "")), -1) for name in columns)
        return layer1, layer2, sampling, int(row["draw"]), *rest

    return {table: sorted([*kept.get(table, []), *those], key=order) for table, those in rows.items()}


def mapped(found, source):
    """Latents that a map gives. Raises StitchError where they are not finite."""
    z = found(source)
    if not torch.isfinite(z).all():
        raise StitchError("the map gives NaN or infinity for images held out; allowed is one with a larger lambda")
    return z


def measured(pair, latents):
    """What `evaluate_many` gives for each of the latents, or a StitchError where network B's outputs are not finite."""
    try:
        return evaluate_many(pair, latents)
    except StitchError as error:
        if len(latents) == 1:
            return [StitchError(str(error).removeprefix("map 0: "))]
    half = len(latents) // 2  # those without numbers are few
    return measured(pair, latents[:half]) + measured(pair, latents[half:])


def _also(row, said):
    """The note of a row with another sentence."""
    return f"{row['note']} {said}".strip()


def steps_of(plan, layers=None):
    """The number of the last step of a pair, or of a layer x layer map."""
    s = plan.settings
    return len(s["sampling"]) * s["draws"] if plan.do == "pair" else len(layers or [0])
