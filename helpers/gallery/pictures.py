"""The sentence that lies in a picture."""

import struct
import zlib

from PIL import Image


def sentence_of(picture):
    """The sentence that lies in a PNG or GIF, or an empty text. Raises ValueError, OSError for what is no picture."""
    try:
        with Image.open(picture) as image:
            gif = image.format == "GIF"
            text = image.info.get("comment", b"").decode(errors="replace") if gif else image.info.get("Description", "")
            return text.strip()
    except (SyntaxError, EOFError, zlib.error, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"it is no picture that can be read: {error}") from error
