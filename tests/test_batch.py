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
