"""Which of the project's files decide what code computes: what it imports, and what that imports in turn.

`sources_of` finds them for the cells of a notebook, `fingerprints` says of each in a few digits what it computes. Files
are parsed, never imported, so this takes no torch and no time. Imports within functions count.
"""

import ast
import re
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from helpers import ROOT, files

PACKAGES = ("helpers", "courselib")
# What cannot change an executed notebook, and so does not count. The panel draws only where somebody watches, and in a
# batch nobody does; what it trains with, the notebook imports itself. `helpers` has the table of floors, which grows
# with every new file. Figures count: an executed notebook holds them.
WITHOUT_EFFECT = ("helpers", "helpers.widgets.live")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
PARSING, TRIES = threading.Lock(), 20
MAGIC = re.compile(r"\s*([%!?]|[\w.]+\?+\s*$)")


def sources_of(cells, root=ROOT):
    """{path: text} of all files of PACKAGES that code imports, and what these import, as far as it goes.

    cells  texts of code; if one of them cannot be parsed, everything counts
    root   the folder that holds PACKAGES; paths are relative to it, with forward slashes
    """
    texts = ["\n".join(line for line in cell.splitlines() if not MAGIC.match(line)) for cell in cells]
    try:
        todo = {module for text in texts for module in _modules_in(text, "", root)}
    except SyntaxError:
        todo = {module for package in PACKAGES for module in _all_below(package, root)} - set(WITHOUT_EFFECT)
    found = {}
    while todo:
        module = todo.pop()
        file = _file_of(module, root)
        found[file] = text = file.read_text(encoding="utf-8", errors="replace")
        found |= {path: path.read_text(encoding="utf-8") for path in file.parent.glob("*.[ch]")}
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        try:
            needed = _modules_in(text, package, root)
        except SyntaxError:  # somebody works on it: it counts, and the notebook will say what is wrong
            continue
        todo |= {other for other in needed if _file_of(other, root) not in found}
    return {path.relative_to(root).as_posix(): found[path] for path in sorted(found)}


def fingerprints(module, beside=(), root=ROOT):
    """{path: 16 digits} of the files that a module of ours needs, its own among them; `beside` are paths left out.

    The digits are of what a file computes: comments, docstrings and the form of the text do not change them.
    """
    found = sources_of([f"import {module}"], root)
    return {path: _fingerprint(path, text) for path, text in found.items() if path not in beside}


def changed(there, here):
    """Which files have other fingerprints in one dict than in another, in words; an empty text for none."""
    paths = [path for path in sorted({**there, **here}) if there.get(path) != here.get(path)]
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


@lru_cache(maxsize=1000)
def _fingerprint(path, text):
    bare = _bare(parsed(text)) if path.endswith(".py") else _bare_c(text)
    return files.checksum(bare)


def _bare(node):
    """A syntax tree as the text of nested lists, without docstrings, positions, and fields that are empty: versions of
    Python differ in these. Texts are joined since lists of lists take twice as long."""
    if isinstance(node, list):
        return f"[{', '.join(map(_bare, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [repr(type(node).__name__)]
    for name, part in ast.iter_fields(node):
        if name == "body" and isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            part = part[1:]
        if part not in (None, []):
            parts.append(f"({name!r}, {_bare(part)})")
    return f"[{', '.join(parts)}]"


def _bare_c(text):
    """The text of C without its comments, with one blank for several and for line breaks; strings are left as they are.

    The lines of the preprocessor stay lines.
    """
    parts = re.split(r'("(?:\\.|[^"\\])*")|/\*.*?\*/|//[^\n]*', text.replace("\\\n", " "), flags=re.DOTALL)
    bare = "".join(part if part and part[0] == '"' else re.sub(r"[ \t]+", " ", part or " ") for part in parts)
    lines = [line.strip() for line in bare.splitlines() if line.strip()]
    return "".join(f"\n{line}\n" if line[0] == "#" else f"{line} " for line in lines)


def _modules_in(text, package, root):
    """The modules of ours that a text of Python imports, with the packages they lie in. Raises SyntaxError."""
    found = set()
    for module, name in _imports_in(text, package):
        if module.split(".")[0] in PACKAGES:
            found |= _modules_behind(module, name, root)
    with_packages = {".".join(m.split(".")[:n]) for m in found for n in range(1, m.count(".") + 2)}
    return {module for module in with_packages if _file_of(module, root)} - set(WITHOUT_EFFECT)


def parsed(text):
    """`ast.parse`, again where Python up to 3.11.7 takes another thread's parsing in between for an error (gh-106905).

    Ours wait for each other; what other packages parse meanwhile, IPython and Dask, only a few tries can outlast.
    """
    with PARSING:
        for _ in range(TRIES - 1):
            with suppress(SystemError):
                return ast.parse(text)
        return ast.parse(text)


@lru_cache(maxsize=1000)  # by the text, so that a file that has changed meanwhile is parsed again
def _imports_in(text, package):
    """Every import in a text of Python, wherever it stands: (module, name), name None for the module as a whole."""
    found = set()
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, None) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {(module, None if alias.name == "*" else alias.name) for alias in node.names}
    return found


def _modules_behind(module, name, root):
    """The modules that `from module import name` needs, or `import module` where name is None."""
    if name and _file_of(f"{module}.{name}", root):
        return _modules_behind(f"{module}.{name}", None, root)
    file = _file_of(module, root)
    if file and file.name == "__init__.py":
        return {module} | _exported_lazily(module, name, file.read_text(encoding="utf-8"), root)
    return {module}


def _exported_lazily(package, name, text, root):
    """The modules that a package's `__getattr__` imports for a name, or for any where name is None.

    They are found in its dict {name: module}; where that does not have the name, the whole package counts.
    """
    nodes, defined, modules = parsed(text).body, set(), {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            defined |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
            if isinstance(node.value, ast.Dict):
                pairs = zip(node.value.keys, node.value.values, strict=True)
                both = [
                    (k.value, v.value) for k, v in pairs if isinstance(k, ast.Constant) and isinstance(v, ast.Constant)
                ]
                modules |= {key: f"{package}.{value}" for key, value in both}
        else:
            defined |= {getattr(node, "name", None)}
    if "__getattr__" not in defined or name in defined:
        return set()
    if name is None:
        return set(modules.values()) or _all_below(package, root)
    return {modules[name]} if name in modules else _all_below(package, root)


def _all_below(package, root):
    folder = Path(root, *package.split("."))
    parts = [path.relative_to(root).with_suffix("").parts for path in folder.rglob("*.py")]
    return {".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts}


def _file_of(module, root):
    """The file of a module of ours; None for what is none."""
    path = Path(root, *module.split("."))
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)
