"""Pictures of a sweep made by hand: what is drawn, and the numbers in the sentence."""

import dataclasses
import re
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from known_sweep import CELLS, EPOCHS, ODD, sweep_of
from matplotlib.colors import to_rgb
from PIL import Image

from helpers import records
from helpers.config import Run
from helpers.figures import save, style_of
from helpers.sweep import figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_dead_runs_are_not_drawn_as_fast(known):
    """Every point below the grey band belongs to a cell in which a run learned."""
    figure = figures.epochs_to_95(known).figure
    for axes, activation in zip(figure.axes, ("relu", "tanh"), strict=True):
        filled = [line for line in axes.lines if line.get_markerfacecolor() != "white"]
        hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
        low, uncertain = ([y for line in lines for y in line.get_ydata() if y <= EPOCHS] for lines in (filled, hollow))
        share = known.select(activation=activation).groupby(["init", "layers"]).learned.mean()
        assert len(low) == (share > 0).sum()
        assert len(uncertain) == ((share > 0) & (share < 1)).sum()


def places(axes, style):
    """The points that are drawn in a colour and marker, as (x, y)."""
    lines = [line for line in axes.lines if (line.get_color(), line.get_marker()) == (style["color"], style["marker"])]
    return {(x, y) for line in lines for x, y in zip(*line.get_data(), strict=True) if np.isfinite(y)}


def test_points_stand_at_their_depth_and_who_never_learned_in_rows_above(known):
    """Of every cell one point: at its mean epochs, or above all epochs, where no two inits share a place."""
    inits = known.config["init_types"]
    for axes, activation in zip(figures.epochs_to_95(known).figure.axes, ("relu", "tanh"), strict=True):
        above = []
        for init in inits:
            points = places(axes, style_of(inits, init))
            assert {x for x, _ in points} == set(known.config["layers_list"])
            epochs = known.select(activation=activation, init=init).groupby("layers").epochs_to_95.mean()
            for x, y in points:
                assert y == epochs[x] if epochs.notna()[x] else EPOCHS < y < axes.get_ylim()[1]
            above += [(x, y) for x, y in points if y > EPOCHS]
        assert len(set(above)) == len(above)


def test_inits_that_never_learned_stand_in_rows_of_their_own(tmp_path):
    inits = ("zero", "normal", "orthogonal")
    results = sweep_of(tmp_path, {("relu", init, depth): (0.1,) for init in inits for depth in (3, 9)})
    (axes,) = figures.epochs_to_95(results).figure.axes
    rows = [places(axes, style_of(inits, init)) for init in inits]
    assert [{x for x, _ in row} for row in rows] == [{3, 9}] * 3
    assert len({y for row in rows for _, y in row}) == 3
    assert min(y for row in rows for _, y in row) > EPOCHS


@pytest.mark.parametrize(("seeds", "hollow"), [((0.9, 0.1), 1), ((0.9, 0.9), 0), ((0.1, 0.1), 0)])
def test_the_legend_says_what_is_hollow_where_something_is(tmp_path, seeds, hollow):
    results = sweep_of(tmp_path, {("relu", "normal", 3): seeds, ("relu", "normal", 9): (0.9, 0.9)})
    (legend,) = figures.epochs_to_95(results).figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["normal"] + ["hollow: some seeds only"] * hollow


@pytest.mark.parametrize(("draw", "columns"), [("accuracy_against_depth", 2), ("epochs_to_95", 1)])
def test_a_sweep_of_one_depth_has_a_row_an_init(tmp_path, draw, columns):
    cells = {(name, init, 5): (0.9, 0.7) if init == "critical" else (0.1, 0.1)
             for name in ("relu", "tanh") for init in ("zero", "critical")}  # fmt: skip
    results = sweep_of(tmp_path, cells)
    relu, tanh = getattr(figures, draw)(results).figure.axes[:2]
    for axes in (relu, tanh):
        drawn = [line for line in axes.lines if line.get_marker() != "None"]
        assert len(drawn) == columns
        for line, column in zip(drawn, ("final_train_acc", "final_test_acc"), strict=False):
            x, y = line.get_data()
            mean = results.summary[results.summary.activation == "relu"].groupby("init", sort=False)
            expected = mean[column if columns == 2 else "epochs_to_95"].mean().astype(float)
            np.testing.assert_allclose(x, [expected["zero"], expected["critical"]])
            np.testing.assert_array_equal(np.round(y), [0, 1])
    assert [text.get_text() for text in relu.texts] == (["never learned"] if columns == 1 else [])


def test_an_init_has_its_colour_whatever_else_the_sweep_holds(tmp_path):
    """Read from the pixels: `critical` alone beside `zero`, and as the third of three."""
    for inits in (("critical", "zero"), ("zero", "he_normal", "critical")):
        cells = {("tanh", init, depth): (0.95,) if init == "critical" else (0.1,) for init in inits for depth in (3, 9)}
        path = save(figures.accuracy_against_depth(sweep_of(tmp_path / inits[0], cells)), tmp_path / inits[0])
        with Image.open(path) as image:
            upper = np.asarray(image.convert("RGB"))[
                : image.height // 4, : image.width // 2
            ]  # where accuracies are high
        seen = {
            init: (upper == np.round(255 * np.array(to_rgb(style_of([init], init)["color"])))).all(axis=-1).sum()
            for init in ("critical", "he_normal", "zero")
        }
        assert seen["critical"] > 20
        assert seen["he_normal"] == seen["zero"] == 0


def test_accuracy_map_shows_the_means_and_says_how_many_diverged(known):
    figure = figures.accuracy_map(known).figure
    relu, tanh = figure.axes[:2]
    assert [text.get_text() for text in relu.texts] == ["0.98", "0.53", "0.10", "0.10"]
    assert [text.get_text() for text in tanh.texts] == ["0.92", "0.92", "0.10", "1 of 2\ndiverged"]


def test_accuracy_map_marks_who_crashed(known):
    summary = known.summary.copy()
    lost = summary.run.isin(["he_normal_tanh_12L_s1", "zero_relu_3L_s0"])
    summary.loc[lost, "left_plateau"], summary.loc[lost, "learned"], summary.loc[lost, "crashed"] = 1, False, True
    picture = figures.accuracy_map(dataclasses.replace(known, summary=summary))
    relu, tanh = picture.figure.axes[:2]
    places = {axes.get_title(): [*zip(*axes.lines[0].get_data(), strict=True)] for axes in (relu, tanh)}
    ((x, y),) = places["relu"]  # zero at 3 layers: second row, first column
    assert (round(x), round(y)) == (0, 1)
    ((x, y),) = places["tanh"]  # he_normal at 12 layers: first row, second column
    assert (round(x), round(y)) == (1, 0)
    assert [text.get_text() for text in picture.figure.legends[0].texts] == ["a run had left the plateau, and crashed"]
    assert "; 2 runs had left the plateau and crashed; 16 of 16 runs" in picture.sentence
    assert figures.accuracy_map(known).figure.legends == []


PICTURES = {
    "accuracy_map": figures.accuracy_map,
    "inits_tanh": lambda r: figures.curves(r, "init", activation="tanh"),
    "activations_zero": lambda r: figures.curves(r, "activation", init="zero"),
    "epochs_to_95": figures.epochs_to_95,
    "layer_statistics_tanh": lambda r: figures.layer_statistics(r, "tanh"),
    "gradient_norms_tanh": lambda r: figures.gradient_norms(r, "tanh", layers=3),
    "accuracy_against_depth": figures.accuracy_against_depth,
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_written_whole_with_their_sentence_and_share_their_scales(known, tmp_path, name):
    picture = dataclasses.replace(PICTURES[name](known), sentence="A sentence with a ≥.")
    assert save(picture, tmp_path) == tmp_path / "figures" / f"{name}.png"
    (file,) = (tmp_path / "figures").iterdir()
    with Image.open(file) as image:
        assert (image.format, image.info["Description"]) == ("PNG", "A sentence with a ≥.")
    subplots = [axes for axes in picture.figure.axes if axes.get_label() != "<colorbar>"]
    assert len({axes.get_ylim() for axes in subplots}) == 1
    if name == "gradient_norms_tanh":
        assert subplots[0].get_yscale() == "log"


def test_gradient_norms_draws_what_is_in_the_records(known):
    figure = figures.gradient_norms(known, "relu", layers=12, epochs=[0]).figure
    he, zero = figure.axes
    np.testing.assert_allclose(zero.lines[0].get_ydata(), 10.0 ** np.arange(-11, 1))
    # one seed learned (norms 1), one did not: the geometric mean of 1 and 10^(l - 11)
    np.testing.assert_allclose(he.lines[0].get_ydata(), 10.0 ** (np.arange(-11, 1) / 2))


# ---- the sentences


def test_sentences_have_the_numbers_of_the_pictures(known):
    sentences = {name: draw(known).sentence for name, draw in PICTURES.items()}
    sentences["inits_relu"] = figures.curves(known, "init", activation="relu").sentence
    sentences["gradient_norms_relu"] = figures.gradient_norms(known, "relu").sentence
    numbers = {
        "accuracy_map": "3 of 8 .* every seed, 1 in some.*last epoch is 0.985 .- 0.007, of relu with he_normal at 3 l",
        "inits_relu": "relu.* 1 of 2 at 3 layers, 0 of 2 at 12 layers.*deepest he_normal at 3 layers .*0.985 .- 0.007",
        "inits_tanh": "tanh.* 1 of 2 at 3 layers, 1 of 2 at 12 layers.*deepest he_normal at 12 layers .*0.915 .- 0.007",
        "activations_zero": "zero.* 0 of 2 at 3 layers, 0 of 2 at 12 layers.*ends at 0.100",
        "epochs_to_95": "3 of 8 .* every seed, 1 in some.*fastest: relu with he_normal at 3 layers, .* 4 epochs",
        "layer_statistics_tanh": "1e-11 .zero. to 1 .he_normal.*last 1 .*last epoch 1 .he_normal., diverged: zero",
        "gradient_norms_relu": r"1e-11 .zero. to 3.2e-06 .he_normal.*1e-11 .zero. to 3.2e-06 .he_normal.*: no init",
        "accuracy_against_depth": "relu 3 layers .he_normal., tanh 12 .*0.985 .- 0.007 at 3 .*0.915 .- 0.007 at 12",
    }
    for name, pattern in numbers.items():
        assert re.search(pattern, sentences[name]), sentences[name]
    for name, sentence in sentences.items():
        runs = {"layer": "2 of 2", "gradient": "4 of 4", "inits": "8 of 8", "activations": "8 of 8"}
        assert f"{runs.get(name.split('_')[0], '16 of 16')} runs, " in sentence


def test_fastest_and_slowest_have_their_spread(known, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(known.folder, folder)
    summary = pd.read_csv(folder / "summary.csv", dtype={"epochs_to_95": "Int64"}).set_index("run")
    summary.loc[["he_normal_relu_3L_s0", "he_normal_relu_3L_s1"], "epochs_to_95"] = [1, 2]
    summary.loc[["he_normal_tanh_12L_s0", "he_normal_tanh_12L_s1"], "epochs_to_95"] = [9, 9]
    summary.to_csv(folder / "summary.csv")
    sentence = figures.epochs_to_95(records.load_sweep(folder)).sentence
    assert "fastest: relu with he_normal at 3 layers, 1.5 +- 0.71 epochs; " in sentence
    assert (
        "slowest: tanh with he_normal at 12 layers, 9 +- 0 epochs; fastest of the deepest: tanh with he_n" in sentence
    )


def every_picture(results):
    config = results.config
    yield from (figures.accuracy_map(results), figures.epochs_to_95(results), figures.accuracy_against_depth(results))
    yield from (figures.curves(results, "activation", "train_loss", init=init) for init in config["init_types"])
    for activation in config["activations"]:
        yield figures.curves(results, "init", activation=activation)
        yield figures.layer_statistics(results, activation)
        yield figures.gradient_norms(results, activation)


@pytest.mark.parametrize("name", ODD)
def test_odd_sweeps_have_sentences(tmp_path, name):
    for picture in every_picture(sweep_of(tmp_path, *ODD[name])):
        assert re.search(r"; (\d+) of \1 runs, \d+ diverged\.$", picture.sentence)
        assert not re.search(r"\bnan\b|: ;|, ;", picture.sentence), picture.sentence


def test_what_is_exactly_0_or_lost_is_named(tmp_path):
    zero = sweep_of(tmp_path / "zero", *ODD["gradients exactly 0"])
    assert "(geometric mean over the seeds): exactly 0: zero; after" in figures.gradient_norms(zero, "relu").sentence
    lost = sweep_of(tmp_path / "lost", *ODD["all diverged"])
    assert figures.accuracy_map(lost).sentence == (
        "0 of 2 finished combinations learned in every seed, 0 in some; 4 of 4 runs, 4 diverged."
    )


def test_a_stopped_sweep_counts_what_is_there(tmp_path):
    missing = ("he_normal_relu_12L_s1", "he_normal_tanh_12L_s0", "zero_tanh_12L_s0", "zero_tanh_12L_s1")
    stopped = sweep_of(tmp_path / "stopped", CELLS, missing=missing)
    assert figures.accuracy_map(stopped).sentence.startswith("2 of 5 finished combinations")
    assert figures.accuracy_map(stopped).sentence.endswith("12 of 16 runs, 0 diverged.")
    assert figures.gradient_norms(stopped, "tanh").sentence == (
        "No combination is finished in every seed; 1 of 4 runs, 0 diverged."
    )
    runs = [Run(init, activation, layers, s).name for activation, init, layers in CELLS for s in (0, 1)]
    for picture in every_picture(sweep_of(tmp_path / "empty", CELLS, missing=runs)):
        assert re.search(r"; 0 of \d+ runs, 0 diverged\.$", picture.sentence)


@pytest.mark.parametrize("kept", [0, 1, 9])
def test_every_picture_of_a_stopped_sweep_is_drawn(known, kept):
    """Only what is finished has a row; the rest of the grid stays empty."""
    partial = dataclasses.replace(known, summary=known.summary.iloc[:kept])
    for picture in every_picture(partial):
        picture.figure.canvas.draw()


@pytest.mark.parametrize("draw", [figures.accuracy_map, figures.epochs_to_95, figures.accuracy_against_depth])
def test_learning_rates_are_never_averaged_unseen(known, draw):
    config = {**known.config, "lr": [0.1, 1.0]}
    several = dataclasses.replace(known, manifest={**known.manifest, "config": config})
    with pytest.raises(ValueError, match=r"learning rates \[0.1, 1.0\]; choose one"):
        draw(several)
