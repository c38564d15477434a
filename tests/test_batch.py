import nbformat
import pytest

from helpers.batch import BatchError, main, notebook_parameters, read_parameters


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("CONFIG: [1", "cannot be read as YAML"),
        ("CONFIG: {}", "names its notebook"),
        ("- 1", "names its notebook"),
        ("notebook: nowhere.ipynb", "which is not there"),
        ("notebook: run.ipynb\nCONFG: {}", "'CONFG'"),
        ("a: \x00", "cannot be read as YAML"),
    ],
)
def test_bad_yaml_is_one_sentence(tmp_path, capsys, text, word):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BatchError) as error:
        read_parameters(path)
    assert word in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert main([str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_absent_file():
    assert main(["nowhere.yaml"]) == 2


def test_parameters_of_the_notebook_are_its_literals():
    config = notebook_parameters("run.ipynb")["CONFIG"]
    assert config["dataset"] == "digits"
    assert config["init_params"]["trunc_normal"]["b"] == 2.0


@pytest.mark.parametrize(
    ("cell", "word"),
    [("CONFIG = dict(range(3))", "plain values"), ("CONFIG['lr'] = 1", "plain values"), ("QUICK = True", "no CONFIG")],
)
def test_a_parameters_cell_that_cannot_be_read_is_told(tmp_path, capsys, cell, word):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})])
    path = tmp_path / "odd.ipynb"
    nbformat.write(notebook, path)
    assert main([str(path)]) == 2
    told = capsys.readouterr().err
    assert word in told
    assert told.count("\n") == 1
