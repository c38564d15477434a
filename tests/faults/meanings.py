"""What is taken for something else: pictures, folders that are no class, functions that are no activation, YAML."""

import warnings

import nbformat
import numpy as np
import torch
from PIL import Image

from helpers import data as datasets
from helpers.activations import ACTIVATIONS, register_activation
from helpers.batch import jobs
from helpers.config import SweepConfig
from helpers.data import DataError
from helpers.records import load_sweep
from helpers.sweep import rebuild

from .kills import whole_sweep
from .resumes import pictures
from .small import small_folder
from .table import SENTENCES, fault, no_sentence, told

# ---- pictures, of which we know what they show


def _known_pictures():
    ramp = np.linspace(0, 255, 64).reshape(8, 8).round()
    grey = ramp / 255
    eight = ramp.astype(np.uint8)
    clear = np.dstack([np.zeros((8, 8, 3), np.uint8), 255 - eight])  # black ink, laid on thinly
    half = np.dstack([np.zeros((8, 8), np.uint8), 255 - eight])
    colours = Image.fromarray(eight).convert("P", palette=Image.Palette.ADAPTIVE)
    return {
        "grey, PNG": ("png", Image.fromarray(eight), grey),
        "1 bit, PNG": ("png", Image.fromarray(eight).point(lambda v: 255 * (v > 99), "1"), (eight > 99) * 1.0),
        "16 bits, PNG": ("png", Image.fromarray((ramp * 257).astype(np.uint16)), grey),
        "16 bits, TIFF": ("tif", Image.fromarray((ramp * 257).astype(np.uint16)), grey),
        "black ink in the alpha channel, RGBA": ("png", Image.fromarray(clear, "RGBA"), grey),
        "black ink in the alpha channel, LA": ("png", Image.fromarray(half, "LA"), grey),
        "palette, PNG": ("png", colours, grey),
        "palette, GIF": ("gif", colours, grey),
        "grey as RGB, BMP": ("bmp", Image.fromarray(eight).convert("RGB"), grey),
        "PPM": ("ppm", Image.fromarray(eight).convert("RGB"), grey),
        "CMYK, TIFF": ("tif", Image.fromarray(eight).convert("RGB").convert("CMYK"), grey),
        "floats in [0, 1], TIFF": ("tif", Image.fromarray(grey.astype(np.float32)), grey),
        "32 bits, TIFF": ("tif", Image.fromarray((ramp * 16843009).astype(np.int64).astype(np.int32)), grey),
        "transparent colour, GIF": ("gif", _with_transparency(eight), None),
    }


def _with_transparency(eight):
    image = Image.fromarray(eight).convert("P")
    image.info["transparency"] = 0
    return image


@fault("pictures of every mode, of which it is known what they show", 14)
def known_pictures(tally, rng, tries):
    with small_folder() as root:
        for i, (case, (suffix, image, expected)) in enumerate(list(_known_pictures().items())[:tries]):
            with tally.each(case):
                for part in ("train", "test"):
                    for name in ("a", "b"):
                        (root / f"{i}" / part / name).mkdir(parents=True)
                        image.save(root / f"{i}" / part / name / f"0.{suffix}")
                try:
                    config = SweepConfig.from_dict({"dataset": f"folder:{root}/{i}", "device": "cpu"})
                    found = datasets.load(config)
                except DataError as error:
                    tally.judged(case, "refused by name", [no_sentence(error, root)])
                    continue
                if expected is None:
                    tally.well("read")
                    continue
                pixels = found.x_train[0].reshape(8, 8, -1).double().mean(-1).numpy()
                far = float(np.abs(pixels - expected).max())
                tally.judged(case, "right", [f"a pixel is off by {far:.2f} of 1" if far > 2.5 / 255 else ""])


JUNK = (".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir")
JUNK += ("empty", "only_tif", "deeper")


@fault("classes that are none", len(JUNK))
def junk(tally, rng, tries):
    with small_folder() as root:
        for i, name in enumerate(JUNK[:tries]):
            data = root / f"{i}"
            pictures(data, rng)
            for part in ("train", "test"):
                place = data / part / name
                if name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
                    place.write_bytes(b"x")
                    continue
                place.mkdir()
                if name == "only_tif":
                    Image.fromarray(np.zeros((8, 8), np.float32)).save(place / "0.xyz", "TIFF")
                if name == "deeper":
                    (place / "more").mkdir()
                    (data / part / "dark" / "00.png").rename(place / "more" / "00.png")
                if name in (".ipynb_checkpoints", "__MACOSX", "@eaDir"):
                    (place / "0.png").write_bytes((data / part / "dark" / "01.png").read_bytes())
            with tally.each(name):
                ignored = name[0] in "._@TD" or name == "desktop.ini"
                try:
                    found = datasets.load(SweepConfig.from_dict({"dataset": f"folder:{data}", "device": "cpu"}))
                except DataError as error:
                    wrong = no_sentence(error, name)
                    tally.judged(name, "one sentence", [wrong, f"refused: {error}" if ignored else ""])
                else:
                    problems = [f"{found.classes} classes, {found.train_size} pictures" if found.classes != 2 else ""]
                    tally.judged(name, "ignored", [*problems, "" if ignored else "taken without a word"])


# ---- activations that are none


def _odd_activations():
    calls = [0]

    def counting(z):
        calls[0] += 1
        return z * calls[0]

    return {
        "softmax": lambda z: torch.softmax(z, -1),
        "softmax over the batch": lambda z: torch.softmax(z, 0),
        "layer norm": lambda z: (z - z.mean(-1, keepdim=True)) / (z.std(-1, keepdim=True) + 1e-5),
        "minus the mean of all": lambda z: z - z.mean(),
        "sort": lambda z: z.sort(-1).values,
        "roll": lambda z: z.roll(1, -1),
        "flip": lambda z: z.flip(-1),
        "cumsum": lambda z: z.cumsum(-1),
        "in place": lambda z: z.clamp_(min=0),
        "dropout": lambda z: torch.nn.functional.dropout(z, 0.5),
        "rrelu": lambda z: torch.nn.functional.rrelu(z, training=True),
        "noise": lambda z: z + torch.randn_like(z),
        "counts its calls": counting,
        "integers": lambda z: z.round().long(),
        "booleans": lambda z: z > 0,
        "sum": lambda z: z.sum(),
        "a column less": lambda z: z[..., 1:],
        "a tuple": lambda z: (z, z),
        "NumPy": lambda z: np.tanh(z.detach().numpy()),
        "a constant": lambda z: torch.ones_like(z),
        "detached": lambda z: z.detach() * 2,
        "NaN below 0": lambda z: z.sqrt(),
        "infinite slope": lambda z: z.sign() * z.abs().sqrt(),
        "float32 only": lambda z: torch.tanh(z.float()),
        "raises": lambda z: 1 / 0,
        "None": lambda z: None,
        "no function": 3,
        "a Module with weights": torch.nn.PReLU(),
        "by the size of the batch": lambda z: z * len(z),
        "by the position": lambda z: z * torch.arange(z.shape[-1], dtype=z.dtype),
        "maximum of all": lambda z: torch.where(z == z.max(), z, 0.1 * z),
    }


@fault("functions that are no activation", 31)
def activations(tally, rng, tries):
    allowed = (*SENTENCES, ValueError, TypeError)
    for i, (case, function) in enumerate(list(_odd_activations().items())[:tries]):
        name = f"odd_{i}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                register_activation(name, function)
        except Exception as error:
            wrong = no_sentence(error, name, allowed=allowed)
            tally.judged(case, "one sentence", [wrong])
        else:
            tally.judged(case, "", ["" if case == "a constant" else "registered without a word"])
        finally:
            ACTIVATIONS.pop(name, None)


# ---- YAML that means something else

SAYINGS = {
    "lr: 0.1\n  lr: 0.2": None,
    "hidden_size: 010": None,
    "hidden_size: 1:30": None,
    "seeds: [010, 1]": None,
    "hidden_size: 0x10": None,
    "hidden_size: 1_000": None,
    "hidden_size: 16": 16,
    "lr: 1e-2": None,
    "resume: yes": True,
    "resume: 'yes'": None,
    "save_dir: 2026-01-01": None,
    "save_dir: 010": None,
    "activations: [no]": None,
    "activations: [null]": None,
    "activation_params: {a: {activation: calibrated, base: relu, base: tanh}}\n  activations: [a]": None,
    "init_params: {a: {init: he_normal}, a: {init: zero}}\n  init_types: [a]": None,
    "<<: {lr: 0.1}\n  lr: 0.2": 0.2,
    "lr: .inf": None,
    "seeds: [1.0]": None,
    "seeds: [1e3]": None,
    "lr: !!float 1": None,
    "lr: !!str 1": None,
    "num_epochs: 1.0": None,
}


@fault("YAML that means something else than it says", 4 * len(SAYINGS))
def sayings(tally, rng, tries):
    """None: refused in a sentence that names the file; else the value that the key must have."""
    with small_folder() as root:
        cell = nbformat.v4.new_code_cell("CONFIG = {}", metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), root / "small.ipynb")
        twice = {"CONFIG: {}\nCONFIG: {lr: 0.1}": None, "notebook: run.ipynb": None, "each: {a: {}, a: {}}": None}
        for text, value in [*SAYINGS.items(), *twice.items()][:tries]:
            path = root / "given.yaml"
            body = text if text in twice else f"CONFIG:\n  {text}"
            path.write_text(f"notebook: {root / 'small.ipynb'}\n{body}\n")
            try:
                (job,) = jobs.read_jobs(path)
            except SENTENCES as error:
                wrong = no_sentence(error, path)
                tally.judged(text, "one sentence", [wrong, f"refused: {error}" if value is not None else ""])
            except Exception as error:
                tally.bad(f"{text}: {told(error)}")
            else:
                key = text.rpartition("\n")[2].strip().partition(":")[0] if text not in twice else ""
                found = job.parameters.get("CONFIG", {}).get(key)
                right = value is not None and found == value
                tally.judged(text, "as it says", ["" if right else f"taken as {found!r}"])


# ---- questions to results

# (question, the number of rows that is right; None: one sentence that names the axis or the run)
QUESTIONS = {
    "select(layers=1)": (lambda results: results.select(layers=1), 4),
    "select(layers=range(1, 3))": (lambda results: results.select(layers=range(1, 3)), 8),
    "select(layers=np.array([1, 2]))": (lambda results: results.select(layers=np.array([1, 2])), 8),
    "select(layers={1, 2})": (lambda results: results.select(layers={1, 2}), 8),
    "select(layers=np.int64(1))": (lambda results: results.select(layers=np.int64(1)), 4),
    "select(layers=[])": (lambda results: results.select(layers=[]), 0),
    "select(activation=('relu', 'tanh'))": (lambda results: results.select(activation=("relu", "tanh")), 8),
    "select(nosuch=1)": (lambda results: results.select(nosuch=1), None),
    "history('nosuch')": (lambda results: results.history("nosuch"), None),
    "layers(run, 'nosuch')": (lambda results: results.layers(results.summary.run[0], "nosuch"), None),
    "at(nosuch)": (lambda results: results.at("nosuch"), None),
    "rebuild(config, 'nosuch')": (lambda results: rebuild(results.config, "nosuch"), None),
    "rebuild(epoch=-1)": (lambda results: rebuild(results.config, results.summary.run[0], -1), None),
    "rebuild(epoch=1.5)": (lambda results: rebuild(results.config, results.summary.run[0], 1.5), None),
}


@fault("questions to results", len(QUESTIONS))
def questions(tally, rng, tries):
    with small_folder() as root:
        whole_sweep(root / "whole")
        results = load_sweep(root / "whole")
        for case, (ask, rows) in list(QUESTIONS.items())[:tries]:
            try:
                found = ask(results)
            except (KeyError, ValueError, *SENTENCES) as error:
                names = ("nosuch", "epoch", "layers")
                wrong = no_sentence(error, *names, allowed=(KeyError, ValueError, *SENTENCES))
                short = "" if len(str(error)) > 20 else f"says only {error}"
                tally.judged(case, "one sentence", [wrong, short, f"refused: {error}" if rows is not None else ""])
            except Exception as error:
                tally.bad(f"{case}: {told(error)}")
            else:
                right = rows is not None and len(found) == rows
                tally.judged(case, "the right rows", ["" if right else f"gives {type(found).__name__} without a word"])
