"""YAML that every reader reads alike: what would mean something else to some is refused, with its line.

YAML 1.1, which PyYAML reads, takes 010 for 8 and 1:30 for 90, lets the last of two equal keys win, and makes text of
1e-2. Here a value is a plain decimal number, true, false, null, a text, a list or a mapping whose keys are texts that
differ; anything else is one sentence. yes, no, on and off are True and False, as in YAML 1.1: a setting that wants a
text refuses those, see `checks.unquoted`.
"""

import math
import re

import yaml

from helpers import checks

NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?")
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*([eE][-+][0-9]+)?)|\.[0-9]+([eE][-+][0-9]+)?")  # a float to YAML 1.1 as well
NEARLY = re.compile(r"[-+]?(0[0-9]+|0[xob][0-9a-f_]+|[0-9][0-9_]*(\.[0-9_]*)?)", re.IGNORECASE)
BREAKS = re.compile("[\x85\u2028\u2029]")  # end a line to YAML 1.1, and to nobody else
QUOTES = "put it in quotes where a text is meant"
MAP, LIST, TEXT, BOOL, NULL = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "bool", "null"))
MOST = 100_000  # values in a file, those counted again that an alias repeats
DEEPEST = 50  # lists and mappings in each other


class YamlError(ValueError):
    """A text that is no YAML, or does not mean the same to all; one sentence that begins with the line."""

    _render_traceback_ = checks.in_one_sentence


def read(content):
    """What a YAML file holds, of its bytes: dicts, lists, texts, numbers, True, False, None. Raises YamlError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise YamlError(f"line {line}: byte {content[error.start]:#04x} is no UTF-8; save the file as UTF-8") from error
    odd = BREAKS.search(text)
    if odd:
        raise YamlError(f"line {_line_at(text, odd.start())}: the sign U+{ord(odd[0]):04X} ends a line to some readers")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        return None if node is None else _Reader(loader).value(node)
    except yaml.reader.ReaderError as error:
        where = _line_at(text, error.position)
        raise YamlError(f"line {where}: the sign U+{error.character:04X} is not allowed in YAML") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join([*(error.context or "").split(), *error.problem.split()])
        raise YamlError(f"line {mark.line + 1}: {problem}") from error
    except RecursionError as error:
        raise YamlError(f"it nests lists and mappings deeper than {DEEPEST}") from error


def _line_at(text, position):
    return text.count("\n", 0, position) + 1


class _Reader:
    """Values of nodes, and how many there are."""

    def __init__(self, loader):
        self.loader, self.count, self.above = loader, 0, []

    def value(self, node):
        self.count += 1
        if self.count > MOST:
            _refuse(node, f"there are more than {MOST} values by then, those counted again that an alias repeats")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if node.tag not in (MAP, LIST):
            _refuse(node, f"the tag {_shown(node.tag)} is not allowed; leave it out")
        if any(node is other for other in self.above):
            _refuse(node, "an alias stands within what it repeats")
        if len(self.above) == DEEPEST:
            _refuse(node, f"it nests lists and mappings deeper than {DEEPEST}")
        self.above.append(node)
        value = self._mapping(node) if node.tag == MAP else [self.value(entry) for entry in node.value]
        self.above.pop()
        return value

    def _mapping(self, node):
        """Keys of its own win against merged ones, as `<<` says; no other key may come twice."""
        own, merged, lines, merges = {}, {}, {}, 0
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merges += 1
                if merges > 1:
                    _refuse(key_node, "the key << is given twice")
                for source in self._sources(value_node):
                    twice = sorted(set(source) & set(merged))
                    if twice:
                        _refuse(key_node, f"<< merges {twice[0]!r} from two mappings")
                    merged |= source
                continue
            key = self._key(key_node)
            if key in own:
                _refuse(key_node, f"the key {key!r} is given twice, first in line {lines[key]}")
            lines[key] = key_node.start_mark.line + 1
            if isinstance(value_node, yaml.ScalarNode) and value_node.style is None and value_node.value == "":
                _refuse(key_node, f"{key!r} has no value; write null where none is meant")
            own[key] = self.value(value_node)
        return {**merged, **own}

    def _sources(self, node):
        values = self.value(node)
        sources = values if isinstance(values, list) else [values]
        if not all(isinstance(source, dict) for source in sources):
            _refuse(node, "<< takes a mapping, or a list of mappings")
        return sources

    def _key(self, node):
        if not isinstance(node, yaml.ScalarNode):
            _refuse(node, "a key is a list or a mapping; allowed is a text")
        key = self._scalar(node)
        if not isinstance(key, str):
            _refuse(node, f"the key {node.value} is no text, but {_kind(key)}; {QUOTES}")
        return key

    def _scalar(self, node):
        text = node.value
        plain = self.loader.resolve(yaml.ScalarNode, text, (True, False))  # its tag, were it neither quoted nor tagged
        quoted = node.style is not None or (node.tag == TEXT and plain != TEXT)  # or a block, or tagged !!str
        if node.tag != (TEXT if quoted else plain):
            _refuse(node, f"the tag {_shown(node.tag)} is not allowed; leave it out")
        if quoted:
            return text
        if text == "":
            _refuse(node, "a value is empty; write null where none is meant")
        if node.tag in (BOOL, NULL):
            return self.loader.construct_object(node)
        if node.tag == TEXT and not _reads_as_number(text):
            return text
        if WHOLE.fullmatch(text) and len(text) < 400:
            return int(text)
        if FLOAT.fullmatch(text) and NUMBER.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        _refuse(node, f"{text[:60]} {self._meaning(node)}")

    def _meaning(self, node):
        """What some readers make of a value, and how it is written so that all make the same of it."""
        kind = node.tag.rpartition(":")[2]
        if kind == "timestamp":
            return f"is a date to some readers; {QUOTES}"
        if kind not in ("int", "float", "str"):
            return f"has a meaning of its own in YAML; {QUOTES}"
        if NUMBER.fullmatch(node.value) and kind == "str" and math.isfinite(float(node.value)):
            return (
                f"is a text to some readers and a number to others; write it with a point and a sign, as in "
                f"{_as_all_read(float(node.value))}, or {QUOTES}"
            )
        try:
            read = self.loader.construct_object(node)
        except ValueError:
            read = node.value
        means = f" ({read} to some readers)" if str(read) != node.value and len(str(read)) < 40 else ""
        return f"is no plain decimal number{means}; write it without leading zeros, signs within or words, or {QUOTES}"


def _is_merge(node):
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:merge" and node.style is None


def _reads_as_number(text):
    """Whether somebody could take a text for a number: 08, 0o10, 1e-2, -.5, 1_000, nan."""
    if NEARLY.fullmatch(text):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_all_read(number):
    """A number as YAML 1.1 and 1.2 read it alike: 0.01, 1.0e-07."""
    mantissa, e, exponent = repr(number).partition("e")
    return (mantissa if "." in mantissa else f"{mantissa}.0") + (e and f"e{int(exponent):+03d}")


def _kind(value):
    return "null" if value is None else "true or false" if isinstance(value, bool) else "a number"


def _shown(tag):
    return tag.replace("tag:yaml.org,2002:", "!!")


def _refuse(node, what):
    raise YamlError(f"line {node.start_mark.line + 1}: {what}")
