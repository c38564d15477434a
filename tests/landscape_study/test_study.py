"""The landscape study: its settings, its tasks, what it writes, and going on after whatever has happened."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from helpers import cluster, files, manifests
from helpers.checks import ConfigError
from helpers.landscape_study import findings, log
from helpers.landscape_study.settings import study_settings
from helpers.landscape_study.study import Study
from helpers.landscape_study.tasks import WithDropout, build, multiplications, samples_of
from helpers.landscapes import Surface
from helpers.sweep.folder import SweepError
from helpers.training import OwnDraws, load_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"hidden_size": 8, "layers_list": [2], "num_epochs": 2, "epochs": [0, 2], "train_size": 128, "width": 5}
SMALL |= {"samples": 32, "batch_size": 64, "pairs": 1, "batches": 2, "eigenvalues": 1, "probes": 2, "device": "cpu"}
MLP, RANDOM = {"mlp": {}}, {"random": {}}


def study_of(folder, config=(), networks=MLP, surfaces=RANDOM):
    return Study({**SMALL, **dict(config), "save_dir": str(folder)}, networks, surfaces)


def mtimes(folder, pattern="**/*.npz"):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(pattern)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    study_of(folder).run()
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A finished study of one's own."""
    import shutil

    return shutil.copytree(finished, tmp_path / "study")


# ---- settings


@pytest.mark.parametrize(
    ("config", "networks", "surfaces", "words"),
    [
        ({"width": 8}, MLP, RANDOM, "width is 8; allowed is an odd number"),
        ({"widht": 9}, MLP, RANDOM, "CONFIG has no key 'widht'; did you mean 'width'?"),
        ({"epochs": [0, 5]}, MLP, RANDOM, "epochs has 5, but mlp is trained for num_epochs = 2; allowed are 0 to 2"),
        ({"probes": 1}, MLP, RANDOM, "probes is 1; allowed is 0, or a whole number from 2 up"),
        ({"batches": "all"}, MLP, RANDOM, "batches is 'all'; allowed is a whole number"),
        ({}, {"resnet": {}}, RANDOM, "did you mean 'resnet14'"),
        ({}, {"a b": {"network": "mlp"}}, RANDOM, "a name in NETWORKS is 'a b'"),
        ({}, {"mlp": {"dropout": 0.5}}, RANDOM, "NETWORKS['mlp'] has 'dropout', which mlp does not take"),
        ({}, {"vgg11": {"layers_list": [3]}}, RANDOM, "has 'layers_list', which only mlp takes"),
        ({}, {"vgg11": {"dropout": 1.0}}, RANDOM, "allowed is a number from 0 up to, but not, 1"),
        ({}, {}, RANDOM, "NETWORKS is {}; allowed is a dict"),
        ({}, MLP, [], "SURFACES is []; allowed is a dict"),
        ({}, MLP, {"a": {"networks": ["vgg11"]}}, "SURFACES['a']['networks']: 'vgg11' is not known"),
        ({}, MLP, {"a": {"activations": ["tanh"]}}, "SURFACES['a'] chooses no network; NETWORKS has mlp--relu"),
        ({}, MLP, {"a": {}, "b": {}}, "SURFACES['a'] and SURFACES['b'] draw the same surface of mlp--relu"),
        ({}, MLP, {"a": {"directions": "hessian", "layers": ["output"]}}, "has layers, which only random directions"),
        ({}, MLP, {"a": {"directions": "hessian", "pairs": 3}}, "there is one plane of hessian"),
        ({"num_epochs": 1}, MLP, {"a": {"directions": "trajectory"}}, "num_epochs = 1, which is a line"),
        ({}, MLP, {"a": {"max_step": 0}}, "SURFACES['a']['max_step'] is 0; allowed is a finite number above 0"),
        ({}, MLP, {"A": {}, "a": {"max_step": 2.0}}, "SURFACES names 'A' and 'a', whose files are one"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_settings_is_one_sentence(config, networks, surfaces, words):
    with pytest.raises(ConfigError) as error:
        study_settings({**SMALL, **config}, networks, surfaces)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "networks", "surfaces", "words"),
    [
        ({"batches": 5}, MLP, RANDOM, "asks for 5 mini-batches of samples = 32, but there are only 128"),
        ({}, MLP, {"a": {"layers": ["conv1"]}}, "SURFACES['a'] with mlp"),
        ({"samples": 999, "batches": "train"}, MLP, RANDOM, "samples is 999 in CONFIG, on which the curvature"),
        ({}, {"resnet14": {"width": 1e308}}, RANDOM, "allowed is a number above 0 and up to 100"),
        ({"batch_size": 999}, MLP, RANDOM, "batch_size is 999"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_is_written(tmp_path, config, networks, surfaces, words):
    with pytest.raises(ConfigError) as error:
        study_of(tmp_path / "new", config, networks, surfaces)
    assert words in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_network_that_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch):
    from helpers.landscape_study import study

    def too_large(*_):
        return torch.empty(2**60)

    monkeypatch.setattr(study, "build", too_large)
    with pytest.raises(ConfigError, match=r"NETWORKS\['mlp'\] does not fit into memory"):
        study_of(tmp_path / "new")


def test_networks_are_the_cells_of_their_grid_and_only_those_that_are_drawn():
    networks = {"mlp": {"activations": ["relu", "tanh"], "layers_list": [2, 3]}, "vgg11": {"width": 0.1}}
    surfaces = {"a": {"networks": ["mlp"], "activations": ["tanh"]}, "b": {"layers_list": [2], "networks": ["mlp"]}}
    surfaces["b"] |= {"max_step": 0.5, "epochs": [2]}
    found = study_settings({**SMALL, "seeds": [0, 1]}, networks, surfaces)
    runs = {(network.name, network.run.activation, network.run.layers) for network in found.networks}
    assert runs == {("mlp", "tanh", 2), ("mlp", "tanh", 3), ("mlp", "relu", 2)}
    assert len(found.networks) == 2 * len(runs)
    kinds = [plan.kind for plan in found.surfaces]
    assert (kinds.count("a"), kinds.count("b")) == (2 * 2 * 2 * 2, 2 * 2 * 2)
    assert len({plan.key for plan in found.surfaces}) == len(found.surfaces)
    relu, tanh = (next(n for n in found.networks if n.run.activation == name) for name in ("relu", "tanh"))
    assert (found.epochs_of(relu), found.epochs_of(tanh)) == ([2], [0, 2])


# ---- what it draws


def test_a_surface_holds_the_loss_of_the_network_moved(finished):
    """Each point again, by a network whose parameters are written anew."""
    from helpers.landscapes.directions import filter_normalised_directions

    study, results = study_of(finished), log.load_study(finished)
    for plan in study.settings.surfaces:
        surface = results.surface(plan.key)
        net = load_checkpoint(build(plan.network, study.data), study.there.states / plan.network.key, plan.epoch)
        (pair,) = filter_normalised_directions(net, 0)
        x, y = samples_of(study.data, plan.batch, 32)
        start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        for i, j in ((0, 0), (2, 2), (1, 4)):
            for name, parameter in net.named_parameters():
                move = surface.steps[i] * pair[0][name] + surface.steps[j] * pair[1][name]
                parameter.data = start[name] + move
            loss = nn.functional.cross_entropy(net(x), y).item()
            assert surface.loss[i, j] == pytest.approx(loss, rel=1e-5)
    assert surface.loss.dtype == np.float32


def test_batches_are_the_first_of_an_epoch_and_the_same_for_all(finished):
    study = study_of(finished)
    (x0, y0), (x1, _) = (samples_of(study.data, batch, 32) for batch in (0, 1))
    assert len(x0) == len(y0) == 32
    assert not any(torch.equal(row, other) for row in x0 for other in x1)
    assert samples_of(study.data, "test", 32)[0] is study.data.x_test


def test_multiplications_are_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 25, 7))
    assert multiplications(net, torch.zeros(2, 3, 5, 5)) == 3 * 4 * 9 * 25 + 700


def test_dropout_that_stays_on_is_noise_and_changes_no_flag():
    net = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5), nn.Linear(50, 2)).eval()
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    wrapped = WithDropout(net).eval()
    assert torch.equal(wrapped(x), wrapped(x)) is False
    assert not any(module.training for module in wrapped.modules())
    drawn = []
    for _ in range(2):
        wrapped.draws = OwnDraws("dropout", 0)
        drawn.append(wrapped(x))
    assert torch.equal(*drawn)


def test_noise_is_what_no_quadratic_explains():
    steps = np.linspace(-0.01, 0.01, 11)
    a, b = np.meshgrid(steps, steps, indexing="ij")
    smooth = 2.3 + 3 * a - b + 50 * a * b + 7 * b**2
    rough = np.random.default_rng(0).normal(size=smooth.shape)
    kinds = [Surface(loss, loss, steps, {}) for loss in (smooth, rough, smooth + smooth.std() * rough)]
    shares = [findings.noise(surface) for surface in kinds]
    assert shares[0] < 1e-12
    # 6 terms of 121 points: chi-squared of the rest has a deviation of sqrt(2 * 115) / 115
    assert abs(shares[1] * 121 / 115 - 1) < 4 * np.sqrt(2 / 115)
    assert 0.3 < shares[2] < 0.7
    assert np.isnan(findings.noise(Surface(np.full((11, 11), np.inf), rough, steps, {})))


# ---- on disk


def test_a_finished_study_is_read_back_and_left_alone(finished):
    before = mtimes(finished)
    study = study_of(finished)
    assert study.left == []
    assert "7 of 7 are finished" in study.describe()
    results = study.run()
    assert mtimes(finished) == before
    assert log.is_finished(finished)
    assert len(results.measures) == 4
    assert list(results.history("mlp--relu--he_normal--2L--s0").epoch) == [0, 1, 2]
    chosen = results.surfaces(epoch=2, batch=1)
    assert list(chosen) == ["mlp--relu--he_normal--2L--s0--random--e2--p0--b1"]
    assert chosen.popitem()[1].settings["images"] == 32
    assert [len(several) for several in results.panels("network", "epoch")["mlp"].values()] == [2, 2]
    with pytest.raises(log.StudyError, match="no surface with epoch = 7; there epoch is 0, 2"):
        results.rows(epoch=7)
    with pytest.raises(log.StudyError, match="'size' is no setting of a surface"):
        results.rows(size=7)


def test_a_study_is_read_without_torch(finished):
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from helpers.landscape_study import findings, log\n"
        "results = log.load_study(sys.argv[1])\n"
        "findings.table(results.measures, findings.NUMBERS)\n"
        "print(log.is_finished(sys.argv[1]), len(results.networks), len(results.surfaces()))"
    )
    done = subprocess.run([sys.executable, "-c", code, finished], capture_output=True, text=True)
    assert done.stdout == "True 1 4\n", done.stderr


def test_a_study_grows_by_surfaces_and_networks(copy):
    before = mtimes(copy)
    study = study_of(copy, {"seeds": [0, 1]}, surfaces={"random": {}, "zoom": {"max_step": 0.01}})
    results = study.run()
    assert len(results.measures) == 2 * (4 + 4)
    after = mtimes(copy)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("config", "networks", "surfaces", "words"),
    [
        ({"lr": 0.5}, MLP, RANDOM, "holds another study: lr of mlp--relu--he_normal--2L--s0 is 0.001 there and 0.5"),
        ({"width": 7}, MLP, RANDOM, "width of random is 5 there and 7 here"),
        ({"test_size": 99}, MLP, RANDOM, "holds another study: test_size"),
    ],
)
def test_a_folder_of_another_study_is_refused(copy, config, networks, surfaces, words):
    before = mtimes(copy, "**/*")
    with pytest.raises(ConfigError) as error:
        study_of(copy, config, networks, surfaces)
    assert words in str(error.value)
    assert mtimes(copy, "**/*") == before


def test_a_sweeps_folder_is_refused(tmp_path):
    manifests.write(tmp_path, {"config": {}})
    with pytest.raises(ConfigError, match="is of no landscape study; choose another save_dir"):
        study_of(tmp_path)


def test_other_data_are_refused_and_forced(copy):
    manifest = log.read_manifest(copy)
    manifest["data"] = {**manifest["data"], "all": "f" * 16, "training labels": "128, crc32 0"}
    log.write_manifest(copy, manifest)
    with pytest.raises(ConfigError, match="holds a study of other data: the training labels differ"):
        study_of(copy)
    assert study_of(copy, {"resume": "force"}).left == []


@pytest.mark.parametrize("damage", ["cut", "removed", "of another", "of no study"])
def test_a_damaged_surface_is_drawn_again(copy, capsys, damage):
    first, second = sorted((copy / "surfaces").glob("*.npz"))[:2]
    whole = log.load_surface(first)
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-30])
    elif damage == "removed":
        first.unlink()
    elif damage == "of no study":
        log.save_surface(first, Surface(whole.loss, whole.accuracy, whole.steps, {}))
    else:
        first.write_bytes(second.read_bytes())
    study = study_of(copy)
    assert [plan.key for plan in study.left] == [first.stem]
    study.run()
    assert ("is drawn again" in capsys.readouterr().out) == (damage != "removed")
    assert np.array_equal(log.load_surface(first).loss, whole.loss)


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_checkpoint_that_is_gone_is_trained_again_where_it_is_needed(copy, capsys, damage):
    checkpoint = copy / "state" / "mlp--relu--he_normal--2L--s0" / "epoch_2.pt"
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-30])
    else:
        checkpoint.unlink()
    assert study_of(copy).left == []
    study = study_of(copy, surfaces={"random": {}, "zoom": {"max_step": 0.01, "epochs": [2]}})
    assert len(study.left) == 1 + 2
    before = mtimes(copy)
    study.run()
    assert "is trained again" in capsys.readouterr().out
    after = mtimes(copy)
    assert {name: after[name] for name in before} == before  # the same weights came out


def test_what_was_drawn_of_other_weights_is_drawn_again(copy, capsys):
    manifest = log.read_manifest(copy)
    (about,) = manifest["networks"].values()
    (key,), about["weights"]["2"] = manifest["networks"], "f" * 16
    log.write_manifest(copy, manifest)
    study = study_of(copy)
    assert study.left[0].key == key
    assert {plan.epoch for plan in study.left[1:]} == {2}
    assert len(study.left) == 1 + 2 + 1
    study.run()
    assert "holds other weights than those that were trained; mlp" in capsys.readouterr().out
    assert study.left == study_of(copy).left == []


def test_a_study_of_an_earlier_version_goes_on_without_a_key_that_came_later(copy):
    manifest = log.read_manifest(copy)
    del manifest["settings"]["surfaces"]["random"]["orthogonal"]
    for network in manifest["settings"]["networks"].values():
        del network["precision"]
    log.write_manifest(copy, manifest)
    assert study_of(copy).left == []


def test_a_manifest_that_is_damaged_says_what_to_do_and_that_works(copy):
    path = copy / "manifest.json"
    path.write_text(path.read_text().replace('"lr": 0.001', '"lr": 0.002'))
    with pytest.raises(ConfigError, match="surfaces that are whole are then kept"):
        study_of(copy)
    path.rename(copy / "away.json")
    study = study_of(copy)
    assert not [plan for plan in study.left if plan in study.settings.surfaces]
    assert len(study.run().measures) == 4


def test_a_packed_study_is_read_and_finished(copy):
    from helpers import packed

    before = log.load_study(copy).surfaces()
    packed.pack_below(copy)
    assert not list(copy.glob("*/*.npz"))
    for key, surface in log.load_study(copy).surfaces().items():
        assert np.array_equal(surface.loss, before[key].loss)
    assert study_of(copy).left == []


def test_a_killed_surface_goes_on_at_its_row(tmp_path, finished):
    """As a kill leaves it: a state, nothing else. Rows that were drawn are not drawn again."""
    study = study_of(tmp_path)
    stop_at_row(study, "mlp--relu--he_normal--2L--s0--random--e0--p0--b0", 3)
    study.run()
    state = tmp_path / "state" / "mlp--relu--he_normal--2L--s0--random--e0--p0--b0.pt"
    assert files.read_about(state)["step"] == 3
    kept, about = files.read_state(state)
    kept["rows"][0, 1] = 77.0
    files.write_state(state, kept, about)
    again = study_of(tmp_path).run()
    whole = log.load_study(finished)
    for key in whole.measures.surface:
        loss, expected = again.surface(key).loss.copy(), whole.surface(key).loss
        if key == state.stem:
            assert (loss[1] == 77.0).all()
            loss[1] = expected[1]
        assert np.array_equal(loss, expected)
    assert not list((tmp_path / "state").glob("*.pt"))


@pytest.mark.parametrize("left", [0, 1])
def test_a_study_is_finished_where_it_is_stopped_and_nothing_is_left(copy, left):
    surfaces = {**RANDOM, "again": {"directions": "random", "width": 3}}
    study = study_of(copy, surfaces=surfaces)
    record = study.there.record_results

    def stopping(plan, results):
        record(plan, results)
        if len(study.left) == left:
            study.stop.at_step.set()

    study.there.record_results = stopping
    study.run()
    is_whole = study.left == []
    assert bool(manifests.read(copy)["finished"]) == is_whole
    assert is_whole or left  # where one more is begun already, it is made


def stop_at_row(study, key, row):
    """Let the study stop at once when this surface has drawn so many rows."""
    begin = study.worker.begin

    def stopping(task):
        work = begin(task)
        if task.name == key:
            advance = work.advance

            def advance_and_stop(stop):
                figures = advance(stop)
                if work.step == row:
                    study.stop.now.set()
                return figures

            work.advance = advance_and_stop
        return work

    study.worker.begin = stopping


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_training_whose_earlier_checkpoint_is_gone_begins_anew(tmp_path, finished, capsys, damage):
    """A kill after epoch 1, then the weights of epoch 0 are lost: the state alone cannot give them back."""
    (network,) = study_of(tmp_path).settings.networks
    study = study_of(tmp_path)
    stop_at_row(study, network.key, 1)
    study.run()
    checkpoint = tmp_path / "state" / network.key / "epoch_0.pt"
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-30])
    else:
        checkpoint.unlink()
    results = study_of(tmp_path).run()
    assert f"{network.key} begins anew" in capsys.readouterr().out
    for key, surface in log.load_study(finished).surfaces().items():
        assert np.array_equal(results.surface(key).loss, surface.loss)


@pytest.mark.parametrize("damage", ["a digit", "a row", "emptied", "no text"])
def test_damaged_measures_are_refused_and_written_again(copy, damage):
    path = copy / "measures.csv"
    whole = path.read_bytes()
    changed = {"a digit": whole[:-3] + b"7" + whole[-2:], "a row": whole[: whole.rindex(b"\n", 0, -1) + 1]}
    path.write_bytes({**changed, "emptied": b"", "no text": b"\xff" + whole}[damage])
    with pytest.raises(log.StudyError, match=r"measures.csv is damaged: .*; run the study again"):
        log.load_study(copy)
    before = mtimes(copy)
    study_of(copy).run()
    assert (path.read_bytes(), mtimes(copy)) == (whole, before)


def test_a_kill_behind_new_measures_leaves_none_that_are_called_damaged(copy, monkeypatch):
    study = study_of(copy, surfaces={"other": {"directions": "random"}})
    write = log.write_measures

    def killed(folder, rows):
        write(folder, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(log, "write_measures", killed)
        with pytest.raises(KeyboardInterrupt):
            study.run()
    assert {*log.load_study(copy).measures.kind} == {"random", "other"}
    assert log.load_study(copy).manifest["finished"] is None
    assert study.run().manifest["measures"]


def test_measures_have_the_surfaces_of_this_study_alone(copy, capsys):
    """Others lie there as well: a copy under another name, one of no study, one of weights that are no more."""
    whole, (first, *_) = (copy / "measures.csv").read_bytes(), sorted((copy / "surfaces").glob("*.npz"))
    surface = log.load_surface(first)
    first.with_name("mine.npz").write_bytes(first.read_bytes())
    log.save_surface(first.with_name("none.npz"), Surface(surface.loss, surface.accuracy, surface.steps, {}))
    older = {**surface.settings, "kind": "older", "weights": "f" * 16}
    name = first.name.replace("--random--", "--older--")
    log.save_surface(first.with_name(name), Surface(surface.loss, surface.accuracy, surface.steps, older))
    (copy / "measures.csv").unlink()
    study_of(copy).run()
    assert (copy / "measures.csv").read_bytes() == whole
    said = capsys.readouterr().out
    assert said.count("holds another surface") == 2
    assert "was drawn of other weights than mlp--relu--he_normal--2L--s0 has now" in said


def test_a_state_that_a_kill_left_of_a_finished_surface_is_no_reason_to_refuse(copy):
    study = study_of(copy)
    plan = study.settings.surfaces[0]
    about = {**study.worker.about(study.task(plan)), "code": {"helpers/landscape_study/tasks.py": "other"}, "step": 2}
    files.write_state(copy / "state" / f"{plan.key}.pt", {}, about)
    assert study_of(copy).left == []
    (copy / "surfaces" / f"{plan.key}.npz").unlink()
    with pytest.raises(ConfigError, match="was made by other code"):
        study_of(copy)


def test_what_kills_left_half_written_is_removed(copy):
    for name in ("state/mlp--relu--he_normal--2L--s0/epoch_2.pt", "surfaces/x.npz", "networks/x.csv", "manifest.json"):
        (copy / f"{name}.123.part").write_text("half")
    study_of(copy).run()
    assert not list(copy.rglob("*.part"))


def test_a_finished_study_is_read_where_nothing_can_be_written(copy, monkeypatch):
    def read_only(*_):
        raise PermissionError(13, "Permission denied", str(copy))

    monkeypatch.setattr(files, "locked", read_only)
    assert len(study_of(copy).run().measures) == 4
    with pytest.raises(SweepError, match="cannot be written to"):
        study_of(copy, {"seeds": [0, 1]}).run()


def test_resume_false_makes_all_of_it_again(copy):
    before = mtimes(copy)
    study = study_of(copy, {"resume": False})
    assert len(study.left) == 1 + 4 + 2
    study.run()
    assert all(mtimes(copy)[name] > before[name] for name in before)
    assert study.left == []


def test_two_processes_do_not_share_a_folder(copy):
    study = study_of(copy)
    with files.locked(copy), pytest.raises(SweepError, match="another process is training in"):
        study.run()


def test_a_plane_that_cannot_be_had_is_said_and_the_rest_is_drawn(tmp_path, capsys, monkeypatch):
    from helpers.landscapes import curvature

    def refuses(*args):
        raise curvature.CurvatureError("there is no Hessian here")

    monkeypatch.setattr(curvature, "eigen_plane", refuses)
    study = study_of(tmp_path, surfaces={"random": {}, "hessian": {"directions": "hessian"}})
    results = study.run()
    assert set(results.measures.kind) == {"random"}
    assert capsys.readouterr().out.count("there is no Hessian here") == 4
    assert study.left == []
    assert study_of(tmp_path, surfaces={"random": {}, "hessian": {"directions": "hessian"}}).left == []


def test_a_network_that_diverges_is_drawn_as_far_as_it_came(tmp_path, capsys):
    study = study_of(tmp_path, {"lr": 1e30, "optimizer": "sgd"})
    results = study.run()
    assert bool(results.networks.diverged.item())
    assert set(results.measures.epoch) == {0}
    assert "diverged; it has no surface at epoch 2 and later" in capsys.readouterr().out
    assert study_of(tmp_path, {"lr": 1e30, "optimizer": "sgd"}).left == []


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    """Of one that does, see test_cluster.py."""
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    study = study_of(tmp_path, {"cluster": "tcp://127.0.0.1:1"})
    assert "tcp://127.0.0.1:1" in study.describe()
    with pytest.raises(SweepError, match="no Dask scheduler answers"):
        study.run()


def test_weights_that_are_all_zero_have_a_hessian_and_no_random_direction(tmp_path, capsys):
    networks, surfaces = {"mlp": {"init_types": ["zero"]}}, {"random": {}, "hessian": {"directions": "hessian"}}
    results = study_of(tmp_path, {"batches": 1, "epochs": [0]}, networks, surfaces).run()
    assert "filters have norm 0, so the direction is 0" in capsys.readouterr().out
    flat, curved = (results.surfaces(kind=kind).popitem()[1] for kind in surfaces)
    assert np.ptp(flat.loss) == 0
    assert np.ptp(curved.loss) > 0
    assert flat.settings["arrow"] is None
