"""The page's files: data as scripts, which a page that was opened by double click may load.

The first line of a data file says what it was made from, what it holds and what the index says of it, so a file is made
anew only when something has changed, and the index needs no data. The same files give the same bytes.
"""

import base64
import gzip
import json
import re
from pathlib import Path

from helpers import files

MARK = "// "  # how the first line begins


def text_of(key, content, entry, made_from):
    """The text of a data file, in ASCII.

    content    what JSON can hold
    entry      what the index says of it, a dict
    made_from  a checksum
    """
    plain = json.dumps(content, separators=(",", ":"), allow_nan=False)
    body = f"plumbline.data({script(key)}, {script(zipped(plain.encode()))});\n"
    head = {"made_from": made_from, "holds": files.checksum(body), "entry": entry}
    return f"{MARK}{json.dumps(head)}\n{body}"


def zipped(content):
    """Bytes as base64 of gzip, without a date."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def script(value):
    """A value as JavaScript, harmless wherever it stands: in a script's file, and between <script> and </script>."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def read_head(path, made_from=None):
    """The entry of a data file that is whole, and made from this, where that is given; else None."""
    try:
        first, _, body = Path(path).read_bytes().decode("ascii").partition("\n")
        head = json.loads(first.removeprefix(MARK))
        whole = head["holds"] == files.checksum(body) and isinstance(head["entry"], dict)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return head["entry"] if whole and made_from in (None, head["made_from"]) else None


def index_text(studies, own=False):
    """The text of studies.js."""
    return f"plumbline.studies({script(studies)}{', {own: true}' if own else ''});\n"


def file_name(key):
    """The name of a data file: the key, where every system and every address can hold it, or else something like it."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", key)[:100].strip(".") or "_"
    return f"{safe}.js" if safe == key and key == key.lower() else f"{safe}.{files.checksum(key)[:8]}.js"


def made_from(paths, *more):
    """A checksum of the names and contents of some files, of a folder the names and sizes in it, and of some texts."""
    parts = []
    for path in paths:
        if path.is_dir():
            parts += [f"{found.name} {found.stat().st_size}" for found in sorted(path.iterdir()) if found.is_file()]
        elif path.exists():
            parts.append(f"{path.name} {files.checksum(path.read_bytes())}")
    return files.checksum("\n".join([*parts, *more]))
