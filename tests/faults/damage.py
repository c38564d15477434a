"""Files of a results folder, damaged one at a time: then it is read back, and a start goes on in it."""

import json
import shutil
import signal

from helpers import packed, records

from . import child, small
from .kills import whole_study, whole_sweep
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


def halfway_sweep(folder, root):
    """A sweep that was killed when some runs were finished and some stacks had a state."""
    for at in range(150, 260, 10):
        shutil.rmtree(folder, ignore_errors=True)
        child.start(
            child.sweep, small.sweep_in(folder), None, (str(folder), at, -signal.SIGKILL), log=root / "halfway.log"
        )
        if any(folder.glob("runs/*.csv")) and any(folder.glob("state/*.pt")):
            break
    for part in folder.rglob("*.part"):
        part.unlink()


def halfway_study(folder, root):
    """A study that was killed when one network was finished and one had a state."""
    given = (small.STUDY, small.EXPERIMENTS, str(folder))
    for at in range(120, 300, 15):
        shutil.rmtree(folder, ignore_errors=True)
        child.start(child.study, *given, None, (str(folder), at, -signal.SIGKILL), log=root / "halfway.log")
        finished = [path for path in folder.glob("*/experiment.json") if '"finished": "' in path.read_text()]
        if finished and any(folder.glob("state/*.pt")):
            break
    for part in folder.rglob("*.part"):
        part.unlink()


def _damaged(tally, rng, tries, make, work, digits_of, whole, other, steps_left):
    """Damage a file, start again, and compare; where a sentence refuses, do what it says."""
    with small_folder() as root:
        expected, _ = whole(root / "whole")
        other(root / "other")
        make(root / "made", root)
        for i, (path, way) in enumerate(cases(root / "made", rng, tries)):
            folder, log = root / f"{i}" / "sweep", root / f"{i}.log"
            shutil.copytree(root / "made", folder)
            told_place(folder, root / "made")
            case = f"{path}: "
            with tally.each(case):
                case += way(folder / path, rng, other_of(path, folder, root / "other"))
                steps = root / f"{i}.steps"
                end = child.start(*work(folder, str(steps)), log=log)
                problems, word = [end.problem(0, child.SENTENCE)], "mended"
                names = any(word in end.text for word in (path.name, path.stem, f"{folder} "))
                if end.code == 0:
                    problems += [small.difference(digits_of(folder), expected)]
                    again = child.count(steps) > steps_left(root / "made")
                    if again:
                        problems += [
                            "" if names or way in (deleted, unreadable) else "trained again without a word of the file"
                        ]
                        word = "said, and trained again"
                elif end.code == child.SENTENCE:
                    problems += ["" if names else f"does not name it: {child.said(end.text)}"]
                    word = "refused in a sentence"
                    if "move it away" in end.text or "away" in end.text:
                        remove(folder / path)
                        again = child.start(*work(folder), log=log)
                        if again.code != 0:
                            problems += [f"moved away as it says: {again.problem(0)}"]
                        else:
                            problems += [small.difference(digits_of(folder), expected)]
                tally.judged(case, word, problems)
            shutil.rmtree(folder.parent)


def told_place(folder, made):
    """A manifest that names the folder in which it lies now."""
    path = folder / "manifest.json"
    if path.exists():
        manifest = json.loads(path.read_text().replace(str(made), str(folder)))
        manifest.pop("checksum", None)
        records.write_manifest(folder, manifest)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sweep_work(folder, steps=None):
    return child.sweep, small.sweep_in(folder), steps


def _study_work(folder, steps=None):
    return child.study, small.STUDY, small.EXPERIMENTS, str(folder), steps


def _other_sweep(folder):
    whole_sweep(folder, hidden_size=9)


def _other_study(folder):
    end = child.start(child.study, {**small.STUDY, "lr": 0.02}, small.EXPERIMENTS, str(folder), log=f"{folder}.log")
    assert end.code == 0, end.text


def _none(made):
    return 0


def _not_finished(made):
    """Steps that were left: what is neither finished nor in a state; LANES may be lost at a kill."""
    return small.STEPS


@fault("a finished sweep, one file damaged, started again", 150)
def finished_sweep(tally, rng, tries):
    def make(folder, root):
        whole_sweep(folder)

    _damaged(tally, rng, tries, make, _sweep_work, small.digits_of, whole_sweep, _other_sweep, _none)


@fault("an interrupted sweep, one file damaged, started again", 150)
def interrupted_sweep(tally, rng, tries):
    _damaged(tally, rng, tries, halfway_sweep, _sweep_work, small.digits_of, whole_sweep, _other_sweep, _not_finished)


@fault("a packed sweep, one file damaged, started again", 60)
def packed_sweep(tally, rng, tries):
    def make(folder, root):
        whole_sweep(folder)
        packed.pack_below(folder)

    _damaged(tally, rng, tries, make, _sweep_work, small.digits_of, whole_sweep, _other_sweep, _none)


@fault("a finished spline study, one file damaged, started again", 60)
def finished_study(tally, rng, tries):
    def make(folder, root):
        whole_study(folder)

    _damaged(tally, rng, tries, make, _study_work, small.study_digits_of, whole_study, _other_study, _none)


@fault("an interrupted spline study, one file damaged, started again", 60)
def interrupted_study(tally, rng, tries):
    _damaged(
        tally, rng, tries, halfway_study, _study_work, small.study_digits_of, whole_study, _other_study, _not_finished
    )


# ---- read back, with no start


@fault("a finished sweep, one file damaged, read back", 400)
def read_back(tally, rng, tries):
    with small_folder() as root:
        whole_sweep(root / "made")
        _other_sweep(root / "other")
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
    results = records.load_sweep(folder)
    found = {run: results.history(run).drop(columns="epoch_time").to_csv() for run in results.summary.run}
    return found | {"summary": results.summary.drop(columns="seconds").to_csv()}


@fault("a manifest moved away, as one that is damaged asks for", 3)
def manifest_moved(tally, rng, tries):
    with small_folder() as root:
        expected, _ = whole_sweep(root / "whole")
        for i, how in enumerate(("damaged", "empty", "no config")[:tries]):
            folder = root / f"{i}"
            shutil.copytree(root / "whole", folder)
            before = small.bytes_of(folder)
            (folder / "manifest.json").write_text({"damaged": "{", "empty": "", "no config": "{}"}[how])
            first = child.start(child.sweep, small.sweep_in(folder), log=root / "log")
            (folder / "manifest.json").unlink()
            again = child.start(child.sweep, small.sweep_in(folder), log=root / "log")
            problems = [first.problem(0, child.SENTENCE), again.problem(0)]
            if again.code == 0:
                problems += [small.difference(small.digits_of(folder), expected), small.rewritten(before, folder)]
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
