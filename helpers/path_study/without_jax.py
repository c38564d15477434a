"""A path study where JAX may be missing: all that needs no chains is done then, and a sentence says what to install."""

from helpers.path_study.study import PathStudy
from helpers.paths.points import PathError


def study_or_its_lines(config, parts):
    """(a PathStudy, ""); or, where its chains need JAX and there is none, (one of exact lines alone, a sentence).

    Raises what PathStudy raises.
    """
    try:
        return PathStudy(config, parts), ""
    except PathError as error:
        if not (missing := what_is_missing()):
            raise
        return PathStudy(config, exact(parts)), missing if missing in str(error) else f"{error}; {missing}"


def what_is_missing():
    """The sentence on what to install, empty where nothing is missing."""
    try:
        from helpers.paths import jax_on_cpu  # noqa: F401
    except PathError as error:
        return str(error)
    return ""


def exact(parts):
    """PARTS whose posteriors are those of the line, which is integrated: no chains."""
    return {
        name: {**own, "spaces": ["line"]} if own.get("what") == "posteriors" else own for name, own in parts.items()
    }
