"""Small notebooks and parameter files, made for tests of the batch."""

import nbformat
import yaml


def write_notebook(path, parameters, *cells, **metadata):
    """A notebook of code cells, the first of which is tagged `parameters`."""
    tagged = nbformat.v4.new_code_cell(parameters, id="p", metadata={"tags": ["parameters"]})
    others = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(cells)]
    nbformat.write(nbformat.v4.new_notebook(cells=[tagged, *others], metadata=metadata), path)
    return str(path)


def write_yaml(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return str(path)
