"""Files of the right form with something wrong inside, for tests of what reads them."""

import json

from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def places(content, at=()):
    """The path of everything in plain data, itself included."""
    yield at
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from places(value, (*at, key))


def changed(content, at, value):
    """Plain data with another value at a path; without that entry where `value` is `...`."""
    if not at:
        return value
    content = json.loads(json.dumps(content))
    inner = content
    for key in at[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return content


def damaged(content, text=None):
    """Texts of JSON: with another value or none at a place, or cut off."""
    whole = json.dumps(content)
    other = st.builds(changed, st.just(content), st.sampled_from(list(places(content))), JSON)
    without = st.builds(changed, st.just(content), st.sampled_from(list(places(content))[1:]), st.just(...))
    cut = st.integers(0, len(whole)).map(lambda end: whole[:end])
    return st.one_of(other.map(json.dumps), without.map(json.dumps), cut)
