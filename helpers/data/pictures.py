"""Pictures from files: of every mode that Pillow opens, as grey or colour, with transparency laid on white.

`read_images` gives whole numbers where the files hold such: uint8 from 0 to 255, uint16 from 0 to 65535 where a picture
has 16 bits; and float32 in [0, 1] where one has floats. Colour profiles are not applied; of 16-bit colours, and of
16-bit grey with transparency, Pillow keeps the upper 8 bits.
"""

import os
import warnings
from contextlib import contextmanager
from functools import cache

import numpy as np

from helpers.data.errors import DataError, print_once, reason_of
from helpers.data.parts import size_of

# Formats with a signature of their own, so that a damaged picture is not taken for one of another format. Not EPS,
# which would start another program, and not JPEG 2000, of which half a file is another picture.
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "TIFF", "WEBP", "AVIF", "QOI", "SGI")
ALLOWED = ".png, .jpg, .bmp, .gif, .tif, .webp, .ppm, .pgm and the other endings of these formats"
MAX_VALUE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535, np.dtype(np.float32): 1.0}
GREY_MODES = ("1", "L", "LA", "La", "F")  # and those that begin with I


@cache
def formats():
    """Those of FORMATS that the installed Pillow opens."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@cache
def suffixes():
    """The endings, in lower case, of files that are taken as pictures."""
    from PIL import Image

    here = formats()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in here}


@contextmanager
def opened(path, check=False):
    """A picture as Pillow opens it. Whatever goes wrong inside the block is a DataError that names the path.

    check  also hold the checksums of a PNG against its bytes, which Pillow does not while it decodes
    """
    from PIL import Image, UnidentifiedImageError

    try:
        if not os.path.isfile(path):
            raise DataError(f"{path} cannot be read as an image: it is no file, or a link that leads to none")
        with warnings.catch_warnings(), open(path, "rb") as file:
            warnings.simplefilter("ignore")  # of metadata that is not used
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if check and file.read(4) == b"\x89PNG":
                file.seek(0)
                with Image.open(file, formats=formats()) as image:
                    image.verify()
            file.seek(0)
            with Image.open(file, formats=formats()) as image:
                yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} cannot be read as an image: it is empty, damaged, or none of {ALLOWED}") from error
    except Exception as error:  # of damaged bytes Pillow's decoders raise nearly everything, SyntaxError too
        raise DataError(f"{path} cannot be read as an image: {reason_of(error)}") from error


def is_grey(mode):
    """Whether a mode of Pillow has no colours."""
    return mode in GREY_MODES or mode.startswith("I")


def pixels_of(image):
    """A picture as (height, width) grey or (height, width, 3) red, green, blue; transparent pixels lie on white.

    returns  uint8; uint16 for the modes I and I;16 in their variants; float32 for the mode F
    Raises DataError, without a path, for what cannot be brought into [0, 1].
    """
    from PIL import ImageOps

    rawmode = next((tile.args for tile in getattr(image, "tile", ())), None)  # how a PNG packs its pixels
    tags = getattr(image, "tag_v2", {})  # of a TIFF: 258 is its bits per sample, 262 is 0 where 0 is white
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image, 4095 if tags.get(258) == (12,) else 65535, tags.get(262) == 0)
    grey = is_grey(image.mode)
    if not image.has_transparency_data:
        return np.asarray(image.convert("L" if grey else "RGB"))
    if rawmode == "RGB;16B":
        raise DataError("16-bit colour with a transparent one; allowed is 8 bits, or an alpha channel")
    if rawmode in ("L;2", "L;4"):  # the transparent grey has the scale of the file, the pixels are 0 to 255
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}[rawmode]
    premultiplied = image.mode in ("La", "RGBa")
    layers = np.asarray(image if premultiplied else image.convert("LA" if grey else "RGBA")).astype(np.uint16)
    colours, alpha = layers[..., :-1], layers[..., -1:]
    on_white = colours + (255 - alpha) if premultiplied else 255 - ((255 - colours) * alpha + 127) // 255
    on_white = np.minimum(on_white, 255).astype(np.uint8)
    return on_white[..., 0] if grey else on_white


def _deep_grey(image, most, white_is_zero):
    """The mode F, whose values must lie in [0, 1], or a mode I, from 0 to `most`: (height, width)."""
    values = np.asarray(image)
    most = 1.0 if image.mode == "F" else most
    low, high = values.min().item(), values.max().item()
    if not (low >= 0 and high <= most):  # so that NaN is refused as well
        raise DataError(f"its mode is {image.mode} with values from {low} to {high}; allowed is 0 to {most}")
    transparent = values == image.info.get("transparency", -1)
    values = most - values if white_is_zero else values
    if image.mode == "F":
        return values.astype(np.float32)
    values = (values.astype(np.uint32) * 65535 + most // 2) // most
    return np.where(transparent, 65535, values).astype(np.uint16)


def read_images(*parts, modes=None):
    """Lists of (path, label), as for training and testing, to numbers: one (pixels, labels) a list.

    modes    the modes of Pillow that the pictures have; by default those of all headers
    returns  pixels (n, height, width) where all modes are grey, else (n, height, width, 3); of the same type in all
             parts; labels (n,)
    Raises DataError where a picture has not the size of the first of its list.
    """
    modes = modes or {_mode_of(path) for files in parts for path, _ in files}
    colour = not all(map(is_grey, modes))
    deep = np.uint16 if any(mode.startswith("I") for mode in modes) else np.uint8
    dtype = np.dtype(np.float32 if "F" in modes else deep)
    return [(_read(files, colour, dtype), np.array([label for _, label in files])) for files in parts]


def _mode_of(path):
    with opened(path) as image:
        return image.mode


def _read(files, colour, dtype):
    pixels, several = None, []
    for i, (path, _) in enumerate(files):
        with opened(path, check=True) as image:
            try:
                array = pixels_of(image)
            except DataError as error:
                raise DataError(f"{path} cannot be used: {error}") from error
            several += [path] if getattr(image, "n_frames", 1) > 1 else []
        if array.dtype != dtype:
            array = array.astype(np.float64) * MAX_VALUE[dtype] / MAX_VALUE[array.dtype]
            array = array if dtype == np.float32 else np.rint(array)
        array = np.stack([array] * 3, -1) if colour and array.ndim == 2 else array
        if pixels is None:
            pixels = np.empty((len(files), *array.shape), dtype)
        if array.shape != pixels.shape[1:]:
            raise DataError(
                f"{path} has {size_of(array)}, but {files[0][0]} has {size_of(pixels[0])}; all must be of one size"
            )
        pixels[i] = array
    if several:
        print_once(f"of images with several frames the first is taken: {len(several)} of {len(files)}, as {several[0]}")
    return pixels
