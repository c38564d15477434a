"""Tables for regression: split, and standardised with nothing but the training rows."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from helpers.data import TABLES, DataError, load_table
from helpers.data.tables import LEAST_ROWS, WAVE_GAP, WAVE_NOISE, wave

FROM_FILES = {name: source for name, source in TABLES.items() if source.file}


def write_table(folder, name, rows):
    """A file as the table's own looks, its numbers drawn at random and far from 0 and 1; returns them."""
    source, rng = TABLES[name], np.random.default_rng(0)
    values = rng.normal(40.0, 7.0, (rows, len(source.features) + 1)).round(6)
    path = folder / "uci" / source.file
    path.parent.mkdir(exist_ok=True)
    between = source.delimiter or " "
    path.write_text("".join(between.join(map(str, row)) + "\n" for row in values))
    return values


def load(folder, name, **given):
    return load_table(name, folder, dtype=torch.float64, **given)


def original_rows(table):
    """{part: its rows in their own units}, features and target, rounded as they were written."""
    found = {}
    for part in ("train", "val", "test"):
        x = getattr(table, f"x_{part}") * table.x_std + table.x_mean
        found[part] = torch.cat([x, table.in_units(getattr(table, f"y_{part}"))], 1).numpy().round(6)
    return found


@pytest.mark.parametrize("name", FROM_FILES)
def test_every_row_is_in_one_part(tmp_path, name):
    values = write_table(tmp_path, name, 100)
    table = load(tmp_path, name)
    parts = original_rows(table)
    assert [len(parts[part]) for part in ("train", "val", "test")] == [70, 10, 20]
    assert sorted(map(tuple, np.concatenate(list(parts.values())))) == sorted(map(tuple, values))


@pytest.mark.parametrize("rows", [10, 11, 14, 15, 99, 308, 1503])
def test_the_parts_are_70_10_and_20_percent_of_any_number(tmp_path, rows):
    write_table(tmp_path, "yacht", rows)
    table = load(tmp_path, "yacht")
    assert table.train_size + len(table.x_val) + table.test_size == rows
    assert abs(table.train_size - 0.7 * rows) <= 0.5
    assert abs(len(table.x_val) - 0.1 * rows) <= 0.5
    assert abs(table.test_size - 0.2 * rows) <= 1


def test_training_rows_have_mean_0_and_deviation_1(tmp_path):
    write_table(tmp_path, "concrete", 200)
    table = load(tmp_path, "concrete")
    for values in (table.x_train, table.y_train):
        # sums of 140 numbers of size 1: their rounding
        assert values.mean(0).abs().max() < 140 * 2**-52
        assert (values.var(0, correction=0) - 1).abs().max() < 140 * 2**-52
    assert table.x_test.mean(0).abs().max() > 0.01  # the others by accident only


def test_all_parts_are_standardised_by_the_training_rows_alone(tmp_path):
    """Test rows that are changed beyond measure move no other number."""
    values = write_table(tmp_path, "airfoil", 50)
    table = load(tmp_path, "airfoil")
    (train, _, test) = original_rows(table).values()
    expected = (test - train.mean(0)) / train.std(0)
    found = torch.cat([table.x_test, table.y_test], 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)  # rounded to the six decimals of the file
    in_test = {tuple(row) for row in test}
    wild = np.array([row * 1e3 if tuple(row) in in_test else row for row in values])
    np.savetxt(tmp_path / "uci" / "airfoil.data", wild, "%.6f")
    again = load(tmp_path, "airfoil")
    for part in ("x_train", "y_train", "x_val", "y_val", "x_mean", "x_std"):
        assert torch.equal(getattr(again, part), getattr(table, part)), part
    assert (again.y_mean, again.y_std) == (table.y_mean, table.y_std)
    assert again.y_test.abs().max() > 1e3


def test_the_split_is_fixed_by_its_seed(tmp_path):
    write_table(tmp_path, "energy", 60)
    one = load(tmp_path, "energy", seed=3)
    torch.manual_seed(5)
    assert torch.equal(one.x_train, load(tmp_path, "energy", seed=3).x_train)
    assert not torch.equal(one.x_train, load(tmp_path, "energy", seed=4).x_train)


def test_a_feature_that_never_changes_is_0(tmp_path):
    values = write_table(tmp_path, "yacht", 40)
    values[:, 2] = 0.1
    np.savetxt(tmp_path / "uci" / "yacht.data", values)
    table = load(tmp_path, "yacht")
    assert table.x_std[2] == 1
    assert max(x[:, 2].abs().max() for x in (table.x_train, table.x_val, table.x_test)) < 1e-15


def test_diabetes_needs_no_file(tmp_path):
    table = load(tmp_path, "diabetes")
    assert (table.train_size, len(table.x_val), table.test_size) == (309, 44, 89)
    assert (table.input_size, table.output_size) == (10, 1)
    x, y = load_diabetes(return_X_y=True, scaled=False)
    found = np.concatenate(list(original_rows(table).values()))
    assert sorted(map(tuple, found)) == sorted(map(tuple, np.column_stack([x, y]).round(6)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_types_and_shapes(dtype):
    table = load_table("diabetes", dtype=dtype)
    for part in ("train", "val", "test"):
        x, y = getattr(table, f"x_{part}"), getattr(table, f"y_{part}")
        assert x.dtype == y.dtype == dtype
        assert y.shape == (len(x), 1)
    assert len(set(table.probe.tolist())) == len(table.probe) == 309


@pytest.mark.parametrize("name", FROM_FILES)
def test_an_absent_file_is_one_sentence_that_says_where_to_put_it(tmp_path, name):
    with pytest.raises(DataError) as error:
        load_table(name, tmp_path)
    text, columns = str(error.value), len(TABLES[name].features) + 1
    assert "\n" not in text
    assert f"no file {tmp_path / 'uci' / TABLES[name].file}; put the table there: a row has {columns} numbers" in text


DAMAGES = {
    "empty": lambda text: "",
    "a header": lambda text: "a b c d e f\n" + text,
    "a page": lambda text: "<html>\n<body>not found</body>\n</html>\n",
    "a column less": lambda text: "".join(line.rpartition(" ")[0] + "\n" for line in text.splitlines()),
    "half a row": lambda text: text[: -len(text.splitlines()[-1]) // 2],
    "text for a number": lambda text: text.replace(text.split()[8], "?", 1),
    "an infinite number": lambda text: text.replace(text.split()[8], "-inf", 1),
    "a number beyond float32": lambda text: text.replace(text.split()[8], "1e200", 1),
    "a number beyond float64": lambda text: text.replace(text.split()[8], "1e400", 1),
    "a decimal comma": lambda text: text.replace(".", ","),
    "a column more": lambda text: text.replace("\n", " 1\n"),
    "zeros": lambda text: "\x00" * 50,
    "a missing number": lambda text: text.replace(text.split()[8], "nan", 1),
    "too few rows": lambda text: "".join(text.splitlines(keepends=True)[: LEAST_ROWS - 1]),
    "binary": lambda text: "\x00\x01\x02",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    write_table(tmp_path, "airfoil", 30)
    path = tmp_path / "uci" / "airfoil.data"
    path.write_text(DAMAGES[damage](path.read_text()))
    with pytest.raises(DataError) as error:
        load_table("airfoil", tmp_path)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{path} ")
    assert "a row has 6 numbers" in text


HARMLESS = {
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "Windows' mark of UTF-8": lambda text: "\ufeff" + text,
    "empty last lines": lambda text: text + "\n\n  \n",
    "no end of line": str.rstrip,
    "tabs": lambda text: text.replace(" ", "\t"),
}


@pytest.mark.parametrize("dress", HARMLESS)
def test_the_same_rows_in_other_dress(tmp_path, dress):
    write_table(tmp_path, "airfoil", 30)
    plain, path = load(tmp_path, "airfoil"), tmp_path / "uci" / "airfoil.data"
    path.write_bytes(HARMLESS[dress](path.read_text()).encode())
    assert load(tmp_path, "airfoil").fingerprint == plain.fingerprint


def test_a_file_in_no_encoding_and_a_folder_for_a_file(tmp_path):
    write_table(tmp_path, "airfoil", 30)
    path = tmp_path / "uci" / "airfoil.data"
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    with pytest.raises(DataError, match=f"{path} cannot be read"):
        load(tmp_path, "airfoil")
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=f"no file {path}"):
        load(tmp_path, "airfoil")


@pytest.mark.parametrize("value", [2.0, 0.1])  # 30 times 0.1 have a deviation of 1e-17
def test_a_target_that_never_changes_is_refused(tmp_path, value):
    values = write_table(tmp_path, "izmailov", 30)
    values[:, 1] = value
    np.savetxt(tmp_path / "uci" / "izmailov.csv", values, delimiter=",")
    with pytest.raises(DataError, match=rf"the target of izmailov is {value} in every training row"):
        load_table("izmailov", tmp_path)


def test_the_wave_is_its_formula_and_noise_without_a_file(tmp_path):
    """Residuals in units of the noise are standard normal: mean and variance of 200 within four standard errors."""
    table = load(tmp_path, "wave", seed=3)
    assert (table.train_size, len(table.x_val), table.test_size) == (140, 20, 40)
    rows = np.concatenate(list(original_rows(table).values()))
    x, residual = rows[:, 0], (rows[:, 1] - wave(rows[:, 0])) / WAVE_NOISE
    assert abs(residual.mean()) < 4 / 200**0.5
    assert abs(residual.var() - 1) < 4 * (2 / 200) ** 0.5
    assert (abs(x) <= 2).all()
    assert not ((x > WAVE_GAP[0]) & (x < WAVE_GAP[1])).any()
    assert ((x <= WAVE_GAP[0]).sum() > 50, (x >= WAVE_GAP[1]).sum() > 30) == (True, True)
    assert torch.equal(table.x_train, load(tmp_path, "wave", seed=3).x_train)
    assert not torch.equal(table.x_train, load(tmp_path, "wave", seed=4).x_train)


def test_a_feature_that_never_changes_is_named(tmp_path, capsys):
    values = write_table(tmp_path, "yacht", 40)
    load(tmp_path, "yacht")
    assert capsys.readouterr().out == ""
    values[:, 1] = 3.5
    np.savetxt(tmp_path / "uci" / "yacht.data", values)
    load(tmp_path, "yacht")
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "yacht: prismatic coefficient is the same in every training row" in said


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match="the table is 'wine'; allowed is diabetes, airfoil"):
        load_table("wine")
