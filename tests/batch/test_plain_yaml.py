"""YAML: what is read equals what YAML 1.1 reads, or is refused with its line."""

import ast
import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from small_notebooks import write_notebook

from helpers import ROOT
from helpers.batch import plain_yaml
from helpers.batch.parameters import BatchError, notebook_parameters, read_parameters
from helpers.batch.run import main, read_jobs

QUIET = settings(derandomize=True, deadline=None, max_examples=200, database=None)


def read(text):
    return plain_yaml.read(text.encode())


def read_or_refused(content):
    """(what is read, None) or (None, the sentence)."""
    try:
        return plain_yaml.read(content), None
    except plain_yaml.YamlError as error:
        return None, str(error)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a: 1\nb: -2\nc: +3\nd: 0", {"a": 1, "b": -2, "c": 3, "d": 0}),
        ("a: 0.01\nb: 1.0e-2\nc: .5\nd: 1.\ne: -2.5e+3", {"a": 0.01, "b": 0.01, "c": 0.5, "d": 1.0, "e": -2500.0}),
        ("a: true\nb: False\nc: null\nd: ~", {"a": True, "b": False, "c": None, "d": None}),
        ("a: yes\nb: Off\nc: [NO, 'no', y]", {"a": True, "b": False, "c": [False, "no", "y"]}),
        ("a: relu\nb: 'on'\nc: \"010\"\nd: ''", {"a": "relu", "b": "on", "c": "010", "d": ""}),
        ("a: two\n  lines", {"a": "two lines"}),  # as writers fold long texts
        ("a: !!str 1:30", {"a": "1:30"}),
        ("a: é\n名: ±", {"a": "é", "名": "±"}),
        ("\ufeffa: 1\r\nb:\r\n  - 2\r\n", {"a": 1, "b": [2]}),
        ("x: &x {lr: 1, n: 2}\na: {<<: *x, lr: 3}", {"x": {"lr": 1, "n": 2}, "a": {"lr": 3, "n": 2}}),
        ("x: &x [1]\na: *x", {"x": [1], "a": [1]}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("a: y\nn: tcp://host:8786\nb: he_1.5", {"a": "y", "n": "tcp://host:8786", "b": "he_1.5"}),
    ],
)  # fmt: skip
def test_what_all_read_alike_is_read(text, means):
    found = read(text)
    assert found == means
    assert list(map(type, found.values())) == list(map(type, means.values()))
    assert found == yaml.safe_load(text)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks/parameters").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_projects_own_files_mean_the_same(path):
    assert plain_yaml.read(path.read_bytes()) == yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' is given twice, first in line 1"),
        ("a:\n  b:\n    - {lr: 1,\n       'lr': 2}", 4, "'lr' is given twice"),
        ("x: &x {lr: 1}\na:\n  <<: *x\n  n: 1\n  n: 2", 5, "'n' is given twice"),
        ("x: &x {lr: 1}\ny: &y {lr: 2}\na: {<<: [*x, *y]}", 3, "'lr' from two"),
        ("x: &x {lr: 1}\na:\n  <<: *x\n  <<: *x", 4, "<< is given twice"),
        ("a: 010", 1, "8 to some"),
        ("a: [1,\n 08]", 2, "no plain decimal"),
        ("a: 0o10", 1, "no plain decimal"),
        ("a: 0x1F", 1, "31 to some"),
        ("a: 1_000", 1, "1000 to some"),
        ("a: 1:30", 1, "90 to some"),
        ("a: [0,01]", 1, "no plain decimal"),
        ("a: 1e-2", 1, "as in 0.01"),
        ("a: 1e-7", 1, "as in 1.0e-07"),
        ("a: -.5", 1, "as in -0.5"),
        ("a: .inf", 1, "no plain decimal"),
        ("a: 1.0e+999", 1, "no plain decimal"),
        (f"a: {'9' * 5000}", 1, "no plain decimal"),
        ("a: nan", 1, "no plain decimal"),
        ("off: 1", 1, "the key off is no text"),
        ("a: 2024-01-01", 1, "a date to some"),
        ("a: 2001-12-14 21:59:43", 1, "a date to some"),
        ("a: =", 1, "a meaning of its own"),
        ("a:\nb: 1", 1, "'a' has no value"),
        ("a: {b, c: 1}", 1, "'b' has no value"),
        ("a:\n  - \n  - 1", 2, "a value is empty"),
        ("b: 1\n2: 1", 2, "the key 2 is no text"),
        ("null: 1", 1, "the key null is no text"),
        ("true: 1", 1, "the key true is no text"),
        ("? [a]\n: 1", 1, "a key is a list"),
        ("a: !!python/object/apply:os.system [x]", 1, "!!python/object/apply:os.system is not allowed"),
        ("a: !!float 1", 1, "!!float is not allowed"),
        ("a: !mine {}", 1, "!mine is not allowed"),
        ("a: 1\n\tb: 2", 2, "'\\t'"),
        ("a: 1\n---\nb: 2", 2, "single document"),
        ("a: 1\nb: \x00", 2, "U+0000"),
        ("a: 1\u2028b: 2", 1, "U+2028"),
        ("b: 1\na: &a [*a]", 2, "within what it repeats"),
        ("a: *b", 1, "undefined alias"),
        ("a: [1", 1, "expected"),
        (f"a: {'[' * 20_000}", None, "deeper than 50"),
        (f"a: {'[' * 60}{']' * 60}", 1, "deeper than 50"),
    ],
)
def test_what_means_something_else_to_some_is_refused_with_its_line(text, line, word):
    with pytest.raises(plain_yaml.YamlError) as caught:
        read(text)
    told = str(caught.value)
    assert word in told
    assert line is None or told.startswith(f"line {line}: ")
    assert "\n" not in told


def test_what_is_no_utf_8_is_refused_with_its_line():
    for content in ("a: 1\nb: é".encode("latin-1"), "a: 1\nb: 2".encode("utf-16")):
        with pytest.raises(plain_yaml.YamlError, match=r"^line [12]: byte 0x\w\w is no UTF-8"):
            plain_yaml.read(content)


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(plain_yaml.YamlError, match="more than 100000 values"):
        read("\n".join(lines))


def test_the_advice_can_be_followed():
    """What a sentence says to write is read, as the number that was meant."""
    for text, means in (("1e-2", 0.01), ("1E5", 1e5), ("-.5", -0.5), ("5e-324", 5e-324), ("1e308", 1e308)):
        with pytest.raises(plain_yaml.YamlError) as caught:
            read(f"a: {text}")
        advised = str(caught.value).split("as in ")[1].split(",")[0]
        assert read(f"a: {advised}") == yaml.safe_load(f"a: {advised}") == {"a": means}
    for text in ("010", "on", "1:30", "2024-01-01", "=", "nan", "1e-2"):
        assert read(f"a: '{text}'") == {"a": text}


# ---- hypothesis

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029", exclude_categories=["Cc", "Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS | st.sampled_from(["on", "010", "1e-2", "~", "", "=", "<<", "1:30"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@QUIET
@given(VALUES, st.booleans())
def test_what_a_writer_writes_is_read_as_it_was(value, flow):
    text = yaml.safe_dump({"a": value}, allow_unicode=True, default_flow_style=flow)
    found, refused = read_or_refused(text.encode())
    if refused:  # the writer leaves 1e-2 and 0o10 without quotes, since it reads them as texts
        assert "quotes" in refused
    else:
        assert found == {"a": value}


@QUIET
@given(st.text("abc01_:.-+eE'\"[]{},&*!|>?#%@<~ \n\tonyx\u2028é", max_size=40))
def test_any_text_is_read_as_yaml_1_1_does_or_refused(text):
    found, refused = read_or_refused(text.encode())
    if refused is None:
        assert found == yaml.safe_load(text)


@QUIET
@given(st.binary(max_size=60), st.integers(0, 60))
def test_damaged_bytes_are_a_sentence(noise, at):
    content = b"notebook: run.ipynb\nCONFIG: {lr: [0.1, 0.2], activations: [relu]}\n"
    for damaged in (noise, content[:at] + noise + content[at:], content[:at]):
        assert "\n" not in (read_or_refused(damaged)[1] or "")


def injected(value):
    """What a notebook gets of a parameter: papermill writes it as Python."""
    from papermill.translators import PythonTranslator

    return ast.literal_eval(PythonTranslator.translate(value))


@QUIET
@given(VALUES)
def test_what_the_notebook_gets_is_what_was_read(value):
    try:
        found = read(yaml.safe_dump({"a": value}, allow_unicode=True))
    except plain_yaml.YamlError:
        return
    got = injected(found["a"])
    assert got == found["a"] or math.isnan(got)
    assert repr(got) == repr(found["a"])


# ---- in a batch


def test_yes_and_on_are_true_where_a_setting_is_that_and_no_names(folder, capsys):
    write_notebook(folder / "one.ipynb", "CONFIG = {}", "1")
    path = folder / "given.yaml"
    path.write_text("notebook: one.ipynb\nCONFIG: {normalize: yes, resume: No, keep_state: on, save_dir: out}\n")
    (job,) = read_jobs([str(path)])
    assert job.parameters["CONFIG"] == {"normalize": True, "resume": False, "keep_state": True, "save_dir": "out"}
    for line in ("activations: [relu, on]", "save_dir: yes", "optimizer: off", "dataset: no"):
        path.write_text(f"notebook: one.ipynb\nCONFIG: {{{line}}}\n")
        assert main([str(path)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"{path}: {line.partition(':')[0]}")
        assert "put a text in quotes" in told
        assert told.count("\n") == 1


def test_the_sentence_names_file_and_line(folder, capsys):
    write_notebook(folder / "one.ipynb", "n = 0", "1")
    (folder / "bad.yaml").write_text("notebook: one.ipynb\nn: 1\nn: 2\n")
    assert main(["bad.yaml"]) == 2
    assert (
        capsys.readouterr().err
        == "bad.yaml cannot be read as YAML: line 3: the key 'n' is given twice, first in line 2\n"
    )
    (folder / "bad.yaml").write_text("- 1")
    with pytest.raises(BatchError, match="names its notebook"):
        read_parameters("bad.yaml")


def test_a_notebook_that_gives_a_key_twice_is_refused(folder):
    path = write_notebook(folder / "one.ipynb", "CONFIG = {'a': 1,\n 'b': {'lr': 1, 'lr': 2}}")
    with pytest.raises(BatchError, match="line 2 begins a dict that gives the key 'lr' twice"):
        notebook_parameters(path)


@pytest.mark.parametrize("name", ["a\\0b", "x" * 300, "~nosuch/x.ipynb"])
def test_a_notebook_that_cannot_be_there_is_a_sentence(folder, name):
    (folder / "bad.yaml").write_text(f'notebook: "{name}"\n')
    with pytest.raises(BatchError, match="is not there"):
        read_parameters("bad.yaml")
