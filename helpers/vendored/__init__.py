"""Libraries of others, kept byte for byte as they were published, so that pages work without a network.

Each lies here with its licence. To change a version: `npm pack <package>@<version>`, copy the two files, and change the
row; a test holds the checksum. Nothing here is edited, formatted or checked for style.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Library:
    """A file of this folder: what it is, where it came from, and under which licence (a file beside it)."""

    file: str
    package: str  # on registry.npmjs.org
    version: str
    licence: str
    sha256: str

    @property
    def path(self):
        """Where the file lies, in the repository or in an installed package."""
        return Path(__file__).with_name(self.file)

    @property
    def licence_path(self):
        """Where its licence lies."""
        return self.path.with_name(self.file.removesuffix(".min.js") + ".LICENSE.txt")


# surfaces and lines in 3-D, and lines in 2-D; in a page it is the global `Plotly`
PLOTLY = Library(
    "plotly-gl3d.min.js",
    "plotly.js-gl3d-dist-min",
    "4.1.1",
    "MIT",
    "aab04dcd9c103a92b18723f8c837712fe820f325d0bcd2421e415e8124a75b9f",
)

LIBRARIES = (PLOTLY,)
