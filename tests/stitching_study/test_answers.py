"""The answers of the stitching study, from tables whose numbers are made up, so that they are known."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.stitching_study import answers, findings, log, rows

USUAL = {"part": "p", "dataset": "digits", "sampling": "equally", "mapping": "affine", "lambda": "gcv"}
USUAL |= {
    "layer1": "latent",
    "layer2": "latent",
    "network1": "conv",
    "network2": "conv",
    "activation1": "relu",
    "latent1": 3,
    "latent2": 3,
}
MODELS = [(activation, seed) for activation in ("relu", "tanh") for seed in range(3)]
RUNS = ("a", "b", "dead", "burst")


def table(name, rows):
    frame = pd.DataFrame([{**USUAL, **row} for row in rows])
    return frame.reindex(columns=log.LAYOUT.columns_of(name))


def pairs():
    """Three seeds each of relu and tanh; a map across activations costs half as much again as B's own error."""
    found = []
    for (a, b), n, draw in itertools.product(itertools.permutations(MODELS, 2), (20, 100), range(2)):
        differ = ", ".join([*["activation"] * (a[0] != b[0]), *["seed"] * (a[1] != b[1])])
        loss = (
            (1.5 + 0.005 * a[1] if a[0] != b[0] else 1.1) + 0.01 * (a[1] - b[1]) + 0.001 * draw + (1 if n == 20 else 0)
        )
        row = {"model1": "{}--s{}".format(*a), "model2": "{}--s{}".format(*b), "differ": differ, "draw": draw}
        row |= {"num_samples": n, "mse_1": 0.02, "mse_2": 0.02, "mse_stitched": 0.02 * loss, "mse_class_means": 0.05}
        found.append({**row, "mse_mean_image": 0.06, "cka": 1 / loss, "procrustes_distance": 0.3})
    return found


def layers():
    """Runs "a" and "b" have learned, "dead" has not; layer 2 of 4 of a run is as good as its last one."""
    found = []
    for one, two in [("a", "b"), ("b", "a"), ("dead", "a"), ("a", "dead"), ("a", "a"), ("b", "b")]:
        for layer1, layer2 in itertools.product(range(4), repeat=2):
            living = "dead" not in (one, two)
            accuracy = 0.1 if not living else 0.95 if layer1 >= 2 else 0.6
            row = {"model1": one, "model2": two, "layer1": str(layer1), "layer2": str(layer2), "differ": "seed"}
            row |= {"num_samples": 500, "draw": 0, "accuracy": accuracy, "accuracy_1": 0.95, "accuracy_2": 0.95}
            row |= {"cka": 0.8 if living else 0.0, "r2": 0.7, "r2_within": 0.5 if living else 0.0}
            row |= {"accuracy_pixels": 0.9, "accuracy_untrained": 0.8, "r2_within_pixels": 0.4}
            found.append({**row, "learned_1": one != "dead", "learned_2": two != "dead"})
    burst = {"model1": "a", "model2": "burst", "layer1": "", "layer2": "", "differ": "init", "note": "burst diverged"}
    return [*found, burst]


@pytest.fixture
def results():
    return SimpleNamespace(
        models=pd.DataFrame(
            [{"dataset": "digits", "model": f"{a}--s{s}", "activation": a, "network": "conv"} for a, s in MODELS]
            + [{"dataset": "digits", "model": name, "activation": "relu", "layers": 4} for name in RUNS]
        ),
        pairs=table("pairs", pairs()),
        classes=table("classes", []),
        layers=table("layers", layers()),
    )


def test_each_question_is_answered_from_its_own_rows(results):
    found = answers.answers(results)
    assert "Which anchors are worth it?" not in found
    assert "What is an accuracy worth?" not in found
    assert "within 10 % of B's own" in found["How many anchors does a map need?"]
    said = found["Does it matter in what two networks differ?"]
    assert "relu to tanh 1.5" in said
    assert "tanh to relu 1.5" in said
    said = found["Does a map between two activations lose more than one between two seeds?"]
    assert "Loss between activations minus the mean between seeds, of the same kind of B" in said
    assert "both directions 0.405 (" in said
    assert "as expected, above 0 at 95% confidence" in said
    said = found["Where do the layers of two living runs fit?"]
    assert "differ in seed (2 ordered pairs), layer 0: CKA 0.80 +- 0" in said
    assert "accuracy -0.350 +- 0 against the second's own (pixels -0.050, untrained -0.150); layer 3" in said
    said = found["Where does a run fail that has not learned?"]
    assert said.count("accuracy 0.100 +- 0 (pixels 0.900, untrained 0.800)") == 2
    said = found["Behind how many layers is a map to a run's last one as good as the run?"]
    assert said.startswith("relu, 4 hidden layers: behind 3 of them (median of 2 runs, 3; the pixels count as 0)")
    said = found["How much more is in a layer of a run that has learned than in pixels and untrained layers?"]
    assert "layer 2 0.1 and layer 3 0.1, undecided, too few networks to leave one out" in said
    said = found["Do measures without a map order pairs as the loss of the map does?"]
    assert "CKA 0.99 (1.00)." in said


def test_the_short_answer_is_of_networks_that_differ_in_their_seed_alone(results):
    said = answers.answer([results])
    seeds = results.pairs[(results.pairs.differ == "seed") & (results.pairs.num_samples == 100)]
    assert f"{(seeds.mse_stitched / seeds.mse_2).mean():.3g} " in said
    assert said.startswith(
        "Autoencoders that differ in their seed (digits, conv, latent 3, affine, sampling equally, 100 "
    )
    assert "6 ordered pairs of 3 networks): 1.1 (" in said


def test_the_short_answer_is_of_the_part_with_most_networks_and_says_which(results):
    fewer = results.pairs[~results.pairs.model1.str.endswith("2") & ~results.pairs.model2.str.endswith("2")]
    other = SimpleNamespace(**{**vars(results), "pairs": fewer.assign(part="q", mse_stitched=3 * fewer.mse_stitched)})
    assert answers.answer([other, results]) == answers.answer([results])
    assert "2 ordered pairs of 2 networks, over 2 draws" in answers.answer([other])
    noise = other.pairs.assign(latent_r2_within_label_noise=-0.1)  # beside which it says more
    assert "2 networks" in answers.answer([results, SimpleNamespace(**{**vars(other), "pairs": noise})])


def test_parts_with_other_anchors_are_no_reference(results):
    """A part of pairs that differ in their seed alone, at fewer anchors, is not what activations are held against."""
    question = "Does a map between two activations lose more than one between two seeds?"
    before = answers.answers(results)[question]
    seeds = results.pairs[(results.pairs.differ == "seed") & (results.pairs.num_samples == 20)]
    results.pairs = pd.concat([results.pairs, seeds.assign(part="q")], ignore_index=True)
    assert answers.answers(results)[question] == before
    assert "(18 ordered pairs of 6 networks)" in before  # of the same seed, too, as for each direction


def test_classifiers_of_two_architectures_are_not_held_against_b(results):
    pairs = classifiers(results)
    of = {f"network{i}": pairs[f"model{i}"].str.contains("tanh").map({True: "vit", False: "mlp"}) for i in (1, 2)}
    results.pairs = pairs.assign(**of)
    results.pairs["differ"] = results.pairs.differ.str.replace("activation", "network")
    found = answers.answers(results)
    assert "Does it matter in what two networks differ?" not in found
    assert "How far do architectures fit?" in found


def classifiers(results):
    """The same pairs, of classifiers: those that differ in the activation as well lose more."""
    lost = 0.3 * results.pairs.differ.str.contains("activation") + 0.01 * results.pairs.draw
    numbers = {"accuracy_1": 0.9, "accuracy_2": 0.9, "accuracy_stitched": 0.88 - lost, "latent_r2_within": 0.5 - lost}
    numbers |= {"agreement_on_errors": 0.6 - lost, "accuracy_label_noise": 0.99}
    images = [name for name in results.pairs if name.startswith("mse_")]
    return results.pairs.assign(**dict.fromkeys(images, np.nan), network1="mlp", network2="mlp", **numbers)


def test_answers_are_of_affine_maps_whatever_others_come_first(results):
    others = [results.pairs.assign(mapping=kind, mse_stitched=1.0) for kind in ("linear", "kernel")]
    answered = answers.answers(results), answers.answer([results])
    results.pairs = pd.concat([*others, results.pairs])
    assert set(answers.affine(results.pairs).mapping) == {"affine"}
    assert answers.answer([results]) == answered[1]
    question = "Does a map between two activations lose more than one between two seeds?"
    assert answers.answers(results)[question] == answered[0][question]


def test_anchors_are_counted_for_pairs_that_differ_in_their_seed_alone_and_for_every_map(results):
    results.pairs = pd.concat([results.pairs, results.pairs.assign(mapping="kernel")], ignore_index=True)
    own = results.pairs[results.pairs.differ == "seed"]
    said = answers.answers(results)["How many anchors does a map need?"]
    assert said == f"p ({rows.label(own)}): {findings.anchors(own)}"


def test_samplings_are_compared_at_every_number_of_anchors(results):
    worse = results.pairs.assign(sampling="random", mse_stitched=results.pairs.mse_stitched * 1.2)
    results.pairs = own = pd.concat([results.pairs, worse], ignore_index=True)
    said = answers.answers(results)["Which anchors are worth it?"]
    assert said == f"p ({rows.label(own)}): {' '.join(findings.strategies(own))}"


def test_what_an_accuracy_is_worth_is_asked_of_pairs_that_differ_in_their_seed_alone(results):
    results.pairs = classifiers(results)
    own = results.pairs[(results.pairs.differ == "seed") & (results.pairs.num_samples == 100)]
    said = answers.answers(results)["What is an accuracy worth?"]
    assert said == f"p ({rows.label(own)}): {findings.accuracies(own)}"
    own = rows.of_one_kind(own)
    short = f"Classifiers that differ in their seed ({rows.label(own)}): {findings.in_short(own)}"
    assert answers.answer([results]) == short
    assert "relu to tanh" in answers.answers(results)["Does it matter in what two networks differ?"]
    assert "How far do architectures fit?" not in answers.answers(results)  # all are of one


def test_unseen_classes_are_those_of_pairs_of_which_a_alone_has_not_seen_them(results):
    found = []
    for (one, two), c, mapping in itertools.product(itertools.permutations("abc", 2), range(4), ("linear", "affine")):
        seen = {"seen_1": one != "a" or c < 2, "seen_2": two != "a" or c < 2}
        row = {"model1": one, "model2": two, "differ": "classes", "num_samples": 100, "draw": 0, "class": c, **seen}
        loss = 3 if mapping == "linear" else 1.5 if seen["seen_1"] else 2
        found.append({**row, "mapping": mapping, "mse_1": 0.02, "mse_2": 0.02, "mse_stitched": 0.02 * loss})
    results.classes = table("classes", found)
    own = results.classes[(results.classes.model1 == "a") & (results.classes.mapping == "affine")]
    said = answers.answers(results)["Does it hold on classes that one of them never saw?"]
    assert said == f"p ({rows.label(own)}): {findings.unseen(own)}"


def test_a_study_of_nothing_answers_nothing(results):
    for name in ("pairs", "layers"):
        setattr(results, name, getattr(results, name)[:0])
    assert answers.answers(results) == {}
    assert answers.answer([results]) == ""
    assert answers.answer([]) == ""


def test_what_is_written_is_read_by_the_gallery(results, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(answers, "studies", lambda folder: [results])
    answers.main([str(tmp_path)])
    written = pd.read_csv(tmp_path / "answers.csv")
    order = list(answers.QUESTIONS)
    assert [order.index(question) for question in written.question] == sorted(map(order.index, written.question))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["question"] == answers.QUESTION
    assert manifest["answer"] == answers.answer([results])
    monkeypatch.setattr(answers, "studies", lambda folder: [])
    with pytest.raises(SystemExit):
        answers.main([str(tmp_path)])
    assert "holds no finished stitching study" in capsys.readouterr().err
