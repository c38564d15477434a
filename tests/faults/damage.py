"""Files of a results folder, damaged one at a time: then it is read back, and a start goes on in it."""

import json
import shutil
import signal
from functools import partial

from helpers import packed
from helpers.records import load_sweep

from . import child, small
from .kills import LANDSCAPES, STUDY, SWEEP, taken_up, whole, whole_sweep
from .small import small_folder
from .table import fault, no_sentence

# ---- ways of damage: (path, rng, another file of its kind) -> what was done, in words


def truncated(path, rng, other):
    content = path.read_bytes()
    places = [
        1,
        len(content) // 3,
        len(content) // 2,
        len(content) - 1,
        content.rfind(b"\n", 0, -1),
        rng.randrange(len(content) or 1),
    ]
    at = max(0, rng.choice(places))
    path.write_bytes(content[:at])
    return f"cut at byte {at} of {len(content)}"


def last_row_short(path, rng, other):
    content = path.read_bytes().rstrip(b"\n")
    at = content.rfind(b",")
    path.write_bytes(content[: at if at > 0 else len(content) // 2])
    return "its last row ends early"


def row_lost(path, rng, other):
    lines = path.read_bytes().split(b"\n")
    at = rng.randrange(len(lines))
    path.write_bytes(b"\n".join(lines[:at] + lines[at + 1 :]))
    return f"line {at + 1} of {len(lines)} lost"


def bit_flipped(path, rng, other):
    content = bytearray(path.read_bytes())
    at, bit = rng.randrange(len(content)), rng.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} flipped"


def digit_changed(path, rng, other):
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if chr(byte) in "123456789"]
    if digits:
        at = rng.choice(digits)
        content[at] = ord("1") + (content[at] - ord("1") + rng.randint(1, 8)) % 9
        path.write_bytes(content)
        return f"a digit at byte {at} changed"
    return bit_flipped(path, rng, other)


def emptied(path, rng, other):
    path.write_bytes(b"")
    return "emptied"


def zeroed(path, rng, other):
    path.write_bytes(bytes(path.stat().st_size))
    return "all zeros, as after a power failure"


def a_folder(path, rng, other):
    path.unlink()
    path.mkdir()
    return "replaced by a folder"


def anothers(path, rng, other):
    if other is None:
        return emptied(path, rng, other)
    content = other.read_bytes()
    path.write_bytes(content)
    return f"replaced by {other.parent.name}/{other.name}"


def deleted(path, rng, other):
    path.unlink()
    return "deleted"


def not_utf8(path, rng, other):
    path.write_bytes(b"\xff\xfe\x00" + path.read_bytes())
    return "begins with bytes that are no UTF-8"


def unreadable(path, rng, other):
    path.unlink()
    path.symlink_to(path)
    return "replaced by a link to itself"


WRONG = (None, 0, -1, 3.5, "text", [], {}, [[]], True, {"a": 1}, 10**400, "9" * 50, [None], "\x00")


def wrong_type(path, rng, other):
    """Right JSON with something else at one place."""
    try:
        content = json.loads(path.read_text())
    except ValueError:
        return bit_flipped(path, rng, other)
    where = rng.choice(list(places_of(content)))
    value = rng.choice(WRONG)
    path.write_text(json.dumps(replaced(content, where, value)))
    return f"{'/'.join(map(str, where)) or 'all'} became {str(value)[:20]!r}"


def places_of(content, where=()):
    """The path to everything in some JSON."""
    yield where
    if len(where) > 6:
        return
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places_of(value, (*where, key))


def replaced(content, where, value):
    if not where:
        return value
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[where[0]] = replaced(content[where[0]], where[1:], value)
    return copy


ANY = (truncated, bit_flipped, digit_changed, emptied, zeroed, a_folder, anothers, deleted, unreadable)
OF_TEXT = (*ANY, last_row_short, row_lost, not_utf8)
OF_JSON = (*OF_TEXT, wrong_type, wrong_type, wrong_type)


def ways_of(path):
    return {".json": OF_JSON, ".csv": OF_TEXT, ".log": OF_TEXT}.get(path.suffix, ANY)


def cases(folder, rng, tries):
    """So many pairs (file, way), each file and each way in turn."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    every = [(path.relative_to(folder), way) for path in files for way in ways_of(path)]
    rng.shuffle(every)
    kinds = {}
    for path, way in every:
        kinds.setdefault((path.suffix, path.name if path.suffix == ".json" else "", way.__name__), []).append(
            (path, way)
        )
    chosen = []
    while len(chosen) < tries and kinds:
        for kind in list(kinds):
            chosen.append(kinds[kind].pop())
            if not kinds[kind]:
                del kinds[kind]
    return chosen[:tries]


def other_of(path, folder, elsewhere):
    """Another file of the same kind: another run's, or another sweep's."""
    here = [
        p for p in sorted(folder.rglob(f"*{path.suffix}")) if p.name != path.name and p.parent == (folder / path).parent
    ]
    there = elsewhere / path
    return there if there.exists() and (path.suffix == ".json" or not here) else here[0] if here else None


# ---- a folder made for it


def halfway(kind, folder, root):
    """A start that was killed when some of its runs were finished and some stacks had a state."""
    for at in range(120, 300, 10):
        shutil.rmtree(folder, ignore_errors=True)
        child.start(*kind.work(folder, None, (str(folder), at, -signal.SIGKILL)), log=root / "halfway.log")
        abouts = folder.glob("*/experiment.json")
        finished = [
            *folder.glob("runs/*.csv"),
            *folder.glob("surfaces/*.npz"),
            *(path for path in abouts if '"finished": "' in path.read_text()),
        ]
        if finished and any(folder.glob("state/*.pt")):
            break
    for part in folder.rglob("*.part"):
        part.unlink()


halfway_sweep, halfway_study = partial(halfway, SWEEP), partial(halfway, STUDY)


def finished(kind, folder, root):
    whole(kind, folder)


def packed_up(kind, folder, root):
    whole(kind, folder)
    packed.pack_below(folder)


def damaged(kind, make, tally, rng, tries):
    """Damage a file, start again, and compare; where a sentence refuses, do what it says."""
    most = kind.steps if make is halfway else 0
    with small_folder() as root:
        expected, _ = whole(kind, root / "whole")
        other(kind, root / "other")
        make(kind, root / "made", root)
        for i, (path, way) in enumerate(cases(root / "made", rng, tries)):
            folder, log, steps = root / f"{i}" / "sweep", root / f"{i}.log", str(root / f"{i}.steps")
            shutil.copytree(root / "made", folder)
            case = f"{path}: "
            with tally.each(case):
                case += way(folder / path, rng, other_of(path, folder, root / "other"))
                end = child.start(*kind.work(folder, steps), log=log)
                problems, word = [end.problem(0, child.SENTENCE)], "mended"
                names = any(word in end.text for word in (path.name, path.stem, f"{folder} "))
                if end.code == 0:
                    problems += [small.difference(kind.digits_of(folder), expected)]
                    if child.count(steps) > most:
                        named = names or way in (deleted, unreadable)
                        problems += ["" if named else "trained again without a word of the file"]
                        word = "said, and trained again"
                elif end.code == child.SENTENCE:
                    problems += ["" if names else f"does not name it: {child.said(end.text)}"]
                    word = "refused in a sentence"
                    if "away" in end.text:
                        remove(folder / path)
                        problems += [f"moved away: {p}" for p in taken_up(kind, folder, expected, log) if p]
                tally.judged(case, word, problems)
            shutil.rmtree(folder.parent)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def other(kind, folder):
    """Another one, whose files are laid in the place of ours."""
    if kind is SWEEP:
        whole_sweep(folder, hidden_size=9)
    elif kind is LANDSCAPES:
        given = {**small.LANDSCAPES, "lr": 0.02}, small.LANDSCAPE_NETWORKS, small.LANDSCAPE_SURFACES
        child.start(child.landscapes, *given, str(folder), log=f"{folder}.log")
    else:
        child.start(child.study, {**small.STUDY, "lr": 0.02}, small.EXPERIMENTS, str(folder), log=f"{folder}.log")


for _name, _kind, _make, _tries in (
    ("a finished sweep", SWEEP, finished, 150),
    ("an interrupted sweep", SWEEP, halfway, 150),
    ("a packed sweep", SWEEP, packed_up, 60),
    ("a finished spline study", STUDY, finished, 60),
    ("an interrupted spline study", STUDY, halfway, 60),
    ("a finished landscape study", LANDSCAPES, finished, 150),
    ("an interrupted landscape study", LANDSCAPES, halfway, 150),
    ("a packed landscape study", LANDSCAPES, packed_up, 60),
):
    fault(f"{_name}, one file damaged, started again", _tries)(partial(damaged, _kind, _make))


# ---- read back, with no start


@fault("a finished sweep, one file damaged, read back", 400)
def read_back(tally, rng, tries):
    with small_folder() as root:
        whole_sweep(root / "made")
        other(SWEEP, root / "other")
        expected = seen_by_a_reader(root / "made")
        for i, (path, way) in enumerate(cases(root / "made", rng, tries)):
            folder = root / f"{i}"
            shutil.copytree(root / "made", folder)
            case = f"{path}: "
            with tally.each(case):
                case += way(folder / path, rng, other_of(path, folder, root / "other"))
                try:
                    seen = seen_by_a_reader(folder)
                except (ValueError, FileNotFoundError) as error:
                    wrong = no_sentence(error, path.name, path.stem, allowed=(ValueError, FileNotFoundError))
                    foreign = (
                        type(error) not in (ValueError, FileNotFoundError) and "helpers" not in type(error).__module__
                    )
                    tally.judged(
                        case, "one sentence", [wrong, f"a foreign {type(error).__name__}: {error}" if foreign else ""]
                    )
                else:
                    tally.judged(case, "the same numbers", [small.difference(seen, expected)])
            shutil.rmtree(folder)


def seen_by_a_reader(folder):
    """All numbers that `load_sweep` gives, but times."""
    results = load_sweep(folder)
    found = {run: results.history(run).drop(columns="epoch_time").to_csv() for run in results.summary.run}
    return found | {"summary": results.summary.drop(columns="seconds").to_csv()}


@fault("a manifest moved away, as one that is damaged asks for", 3)
def manifest_moved(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i, how in enumerate(("damaged", "empty", "no config")[:tries]):
            folder = root / f"{i}"
            shutil.copytree(root / "whole", folder)
            (folder / "manifest.json").write_text({"damaged": "{", "empty": "", "no config": "{}"}[how])
            first = child.start(child.sweep, small.sweep_in(folder), log=root / "log")
            (folder / "manifest.json").unlink()
            problems = [first.problem(0, child.SENTENCE), *taken_up(SWEEP, folder, expected, root / "log")]
            tally.judged(f"{how} manifest.json moved away", "taken up again", problems)


# ---- a study that was moved, or lost rows


@fault("an experiment moved away is trained anew", 4)
def experiment_moved(tally, rng, tries):
    """experiment.json moved away, as its sentence says, and another lr: nothing of the old state may be in it."""
    with small_folder() as root:
        common = {**small.STUDY, "lr": 0.02}
        end = child.start(child.study, common, small.EXPERIMENTS, str(root / "whole"), log=root / "log")
        expected = small.study_digits_of(root / "whole")
        assert end.code == 0, end.text
        for i, what in enumerate(("experiment.json", "all", "metrics.csv", "training.log")[:tries]):
            folder = root / f"{i}"
            halfway_study(folder, root)
            begun = [path for path in folder.glob("*_s*") if path.is_dir()]
            for place in begun:
                if what == "all":
                    shutil.rmtree(place)
                else:
                    (place / what).unlink(missing_ok=True)
            again = child.start(child.study, common, small.EXPERIMENTS, str(folder), log=root / "log")
            problems = [again.problem(0, child.SENTENCE)]
            if again.code == 0:
                problems += [small.difference(small.study_digits_of(folder), expected)]
            tally.judged(f"{what} of each experiment moved, lr 0.01 before, 0.02 now", "right or refused", problems)
