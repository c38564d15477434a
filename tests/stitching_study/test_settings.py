"""Settings of a stitching study: every mistake is one sentence, and what is asked for is counted by hand."""

import pytest

from helpers.checks import ConfigError
from helpers.stitching_study.settings import Plan, data_name, study_settings

ONE = {"a": {"what": "autoencoders"}}


@pytest.mark.parametrize(
    ("config", "parts", "words"),
    [
        ({}, {}, "STITCHES is {}; allowed is a dict"),
        ({}, {"a": {"seeds": [0, 1]}}, "STITCHES['a'] is {'seeds': [0, 1]}; allowed is a dict with 'what'"),
        ({}, {"a": {"what": "autoencoder"}}, "'autoencoder' is not known; did you mean 'autoencoders'?"),
        ({"latent": [3]}, ONE, "CONFIG has no key 'latent'; did you mean 'latents'?"),
        ({"maps": ["afine"]}, ONE, "maps: 'afine' is not known; did you mean 'affine'?"),
        ({"sampling": ["equal"]}, ONE, "sampling: 'equal' is not known; did you mean 'equally'?"),
        ({"lams": [-1]}, ONE, "lams is -1; allowed is a finite number from 0 up, or 'gcv'"),
        ({"lams": [0.1, 0.1000000001]}, ONE, "lams, to six digits, names '0.1' twice"),
        ({"lams": ["cv"]}, ONE, "lams is 'cv'; allowed is"),
        ({"anchors": [0]}, ONE, "anchors is 0; allowed is a whole number from 1 up"),
        ({"anchors": [20, 20]}, ONE, "anchors names 20 twice"),
        ({"map_settings": {"mlp": {"step": 3}}}, ONE, "map_settings['mlp'] has no key 'step'; did you mean 'steps'?"),
        ({"classes": ["odd"]}, ONE, "classes is 'odd'; allowed is 'all'"),
        ({"classes": [[0, -1]]}, ONE, "classes is -1; allowed is a whole number from 0 up"),
        ({"pairs": "every"}, ONE, "pairs is 'every'; allowed is 'all' or 'neighbours' or 'close'"),
        ({}, {"a": {"what": "autoencoders", "networks": ["vit"]}}, "the network 'vit', which is none of the autoencod"),
        ({}, {"a": {"what": "autoencoders", "layers": ["0"]}}, "STITCHES['a'] has 'layers', which autoencoders do not"),
        ({}, {"a": {"what": "classifiers", "latents": [3]}}, "STITCHES['a'] has 'latents', which classifiers do not"),
        ({}, {"a": {"what": "autoencoders", "seeds": [0]}}, "STITCHES['a'] asks for no pair of models"),
        ({}, {"a": {"what": "autoencoders", "models": [{"netwrok": "vae"}]}}, "did you mean 'network'?"),
        ({}, {"a": {"what": "autoencoders", "models": []}}, "allowed is a list of dicts with some of network, latent"),
        ({}, {"a": {"what": "classifiers", "models": [{"latent": 3}]}}, "with 'latent', which classifiers have not"),
        (
            {},
            {"a": {"what": "classifiers", "networks": ["mlp", "vit"], "layers": ["0"]}},
            "one list of layers for several networks",
        ),
        (
            {},
            {"a": {"what": "sweep", "pairs": "all"}},
            "allowed is a list of seeds, inits, activations, self for sweep",
        ),
        ({}, {"a": {"what": "sweep", "sweep": "results/nowhere"}}, "sweep is 'results/nowhere', which cannot be read"),
        (
            {},
            {"a": {"what": "sweep", "sweep": {"epochs": 3}}},
            "STITCHES['a']['sweep'] has no key 'epochs'; did you mean 'num_epochs'",
        ),
        ({"sweep": {"epochs": 3}}, {"a": {"what": "sweep"}}, "sweep has no key 'epochs'; did you mean 'num_epochs'"),
        ({}, {"a": {"what": "sweep", "sweep": {"lr": -1}}}, "STITCHES['a']['sweep']: lr is -1"),
        ({}, {"a": {"what": "sweep", "sweep": {"seeds": [*range(10**4)]}}}, "STITCHES['a']['sweep'] asks for "),
        ({}, {"a": {"what": "autoencoders", "device": "cpu"}}, "is the same for all; it belongs into CONFIG"),
        ({}, {"A": ONE["a"], "a": ONE["a"]}, "STITCHES names 'A' and 'a'"),
        ({"datasets": ["mnits"]}, ONE, "did you mean 'mnist'?"),
        ({}, {1: ONE["a"]}, "a name in STITCHES is 1; allowed is a text"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_one_sentence(config, parts, words):
    with pytest.raises(ConfigError) as refused:
        study_settings(config, parts)
    assert words in str(refused.value)
    assert not ("sweep" in words and "CONFIG" in str(refused.value))
    assert "\n" not in str(refused.value)


def plans_of(part, **config):
    return study_settings(config, {"a": part}).plans


def test_a_whole_study_of_72_ordered_pairs_is_81_tasks():
    maps = {"maps": ["linear", "affine", "orthogonal"], "lams": ["gcv", 0, 0.1], "anchors": [10, 30, 50, 100]}
    part = {"what": "autoencoders", "latents": [10, 30, 50], "seeds": [0, 1, 2], **maps}
    sampling = ["random", "equally", "best_classes", "furthest_away"]
    plans = plans_of({**part, "sampling": sampling, "draws": 5}, datasets=["mnist"])
    assert [sum(plan.do == do for plan in plans) for do in ("model", "pair")] == [9, 72]


def test_models_are_paired_as_asked():
    part = {"what": "autoencoders", "latents": [4, 8], "activations": ["relu", "tanh"], "seeds": [0, 1]}
    pairs = {
        how: [p for p in plans_of({**part, "pairs": how}) if p.do == "pair"] for how in ("all", "neighbours", "close")
    }
    # of 8 models: 7 others; 7 steps there and back; the other seed, two of another latent, two of another activation
    assert {how: len(those) for how, those in pairs.items()} == {"all": 56, "neighbours": 14, "close": 8 * 5}
    differ = {plan.columns("pairs")["differ"] for plan in pairs["close"]}
    assert differ == {"seed", "latent", "latent, seed", "activation", "activation, seed"}


def test_listed_models_take_what_they_leave_out_from_the_part():
    models = [{"network": "vae", "latent": 5, "classes": [4, 0]}, {"latent": 3, "seed": 7}]
    plans = plans_of({"what": "autoencoders", "models": models, "seeds": [0, 1]})
    names = [plan.model1.name for plan in plans if plan.do == "model"]
    assert names == [
        "vae5--relu--he_normal--c0-4--s0", "vae5--relu--he_normal--c0-4--s1", "conv3--relu--he_normal--s7",
    ]  # fmt: skip


def test_networks_of_a_kind_are_stitched_at_the_same_layer_and_others_at_all():
    part = {"what": "classifiers", "networks": ["mlp", "vit"], "layers_list": [3], "seeds": [0, 1]}
    plans = plans_of({**part, "layers": {"mlp": [0, 2], "vit": ["block0", "features"]}})
    layers = {}
    for plan in plans:
        if plan.do == "pair":
            layers.setdefault((plan.model1.network, plan.model2.network), set()).add((plan.layer1, plan.layer2))
    assert layers["mlp", "mlp"] == {("0", "0"), ("2", "2")}
    assert layers["mlp", "vit"] == {(a, b) for a in "02" for b in ("block0", "features")}
    usual = {plan.layer1 for plan in plans_of({**part}) if plan.do == "pair"}
    assert usual == {"2", "features"}


def test_every_task_has_a_name_of_its_own_and_comes_after_those_it_needs():
    sweep = {"dataset": "digits", "layers_list": [2, 3], "init_types": ["he_normal", "zero"], "seeds": [0, 1]}
    sweep |= {"activations": ["relu", "tanh"]}
    parts = {
        "s": {"what": "sweep", "sweep": sweep, "pairs": ["seeds", "inits", "activations", "self"]},
        "c": {"what": "classifiers", "layers": [0, 1, 2, 3, 4]},
        "a": {"what": "autoencoders", "classes": ["all", [0, 1, 2, 3, 4]]},
    }
    seen, plans = set(), study_settings({}, parts).plans
    assert len({plan.key for plan in plans}) == len(plans)
    for plan in sorted(plans, key=lambda plan: plan.phase):
        assert set(plan.needs) <= seen
        seen.add(plan.key)
    swept = [plan for plan in plans if plan.part == "s" and plan.do == "layers"]
    assert len(swept) == 16 + 16 + 16 + 16
    assert all(plan.model1.layers == plan.model2.layers for plan in swept)


def test_what_changes_a_model_is_apart_from_what_changes_a_pair():
    first, other = (plans_of({"what": "autoencoders", "maps": maps}) for maps in (["affine"], ["linear", "kernel"]))
    same = [a.to_dict() == b.to_dict() for a, b in zip(first, other, strict=True)]
    assert same == [True, True, False, False]
    longer = plans_of({"what": "autoencoders", "num_epochs": 3})
    assert not any(a.to_dict() == b.to_dict() for a, b in zip(first, longer, strict=True))
    assert isinstance(first[0], Plan)


@pytest.mark.parametrize(
    ("what", "one", "other", "same"),
    [
        ("autoencoders", {}, {"maps": ["linear"], "sampling": ["random"], "anchors": [30], "pairs": "close"}, True),
        ("autoencoders", {"beta": 0.1}, {"beta": 0.2}, True),  # of which a conv network has none
        ("autoencoders", {"networks": ["vae"], "beta": 0.1}, {"networks": ["vae"], "beta": 0.2}, False),
        ("autoencoders", {"base": 8}, {"base": 4}, False),
        ("autoencoders", {}, {"train_size": 100}, False),
        ("autoencoders", {}, {"lr": 0.1}, False),
        ("autoencoders", {}, {"datasets": ["mnist"]}, False),
        ("classifiers", {"layers": ["0"]}, {"width": 0.5}, True),  # of which an mlp has none
        ("classifiers", {}, {"hidden_size": 8}, False),
        ("classifiers", {"networks": ["resnet14"]}, {"networks": ["resnet14"], "width": 0.5}, False),
        ("sweep", {}, {"draws": 2, "layers_list": [3]}, True),
        ("sweep", {}, {"sweep": {"dataset": "digits", "num_epochs": 3, "layers_list": [3], "seeds": [0, 1]}}, False),
    ],
)
def test_parts_share_the_models_that_agree_in_what_decides_their_weights(what, one, other, same):
    parts = {"a": {"what": what, **one}, "b": {"what": what, **other}}
    together = study_settings({}, parts).plans
    alone = [{p.key for p in study_settings({}, {name: own}).plans if p.do == "model"} for name, own in parts.items()]
    assert {p.key for p in together if p.do == "model"} == set.union(*alone)
    assert sum(p.do == "model" for p in together) == (max if same else sum)(map(len, alone))
    assert bool(set.intersection(*alone)) == same


def test_data_of_ones_own_has_a_name_that_is_a_file():
    assert data_name("mnist") == "mnist"
    names = {data_name(f"arrays:{folder}/My data.npz") for folder in ("a", "b")}
    assert len(names) == 2
    assert all(name.startswith("arrays-my-data-npz-") for name in names)


@pytest.mark.parametrize(("key", "value", "there"), [("layers_list", 7, "5, 10, 20"), ("seeds", 99, "0, 1, 2")])
def test_runs_that_a_sweep_has_not_are_refused(key, value, there):
    part = {"what": "sweep", "sweep": "results/digits", "pairs": ["seeds"], key: [value]}
    with pytest.raises(ConfigError, match=rf"{key} is {value}; allowed is a choice among .*: {there}"):
        study_settings({}, {"runs": part})
