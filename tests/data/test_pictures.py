"""Every mode of Pillow against values computed by hand, and damaged pictures, which are refused by name."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.data import DataError
from helpers.data.pictures import FORMATS, formats, pixels_of, read_images, suffixes

RAMP = (23 * np.add.outer(np.arange(5), np.arange(7)) % 256).astype(np.uint8)  # 0 to 230, five high and seven wide
COLOURS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], -1)
ALPHA = np.roll(RAMP, 2, 1)


def written(path, image, form, **how):
    """The values that are read of a picture, after it has been written in a format."""
    image.save(path, form, **how)
    return read(path)


def read(path):
    [(pixels, _)] = read_images([(path, 0)])
    return pixels[0]


def on_white(colours, alpha):
    """Colours under an alpha channel as a painter lays them on white paper, to the nearest of 256 values."""
    share = (alpha / 255)[..., None] if colours.ndim == 3 else alpha / 255
    return np.rint(share * colours + (1 - share) * 255).astype(np.uint8)


# ---- modes


def test_ink_in_the_alpha_channel(tmp_path):
    black = np.zeros((5, 7, 3), np.uint8)
    found = written(tmp_path / "a.png", Image.fromarray(np.dstack([black, ALPHA])), "PNG")
    np.testing.assert_array_equal(found, on_white(black, ALPHA))
    assert np.ptp(found) > 200


@pytest.mark.parametrize(("form", "how"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_colour_with_transparency(tmp_path, form, how):
    image = Image.fromarray(np.dstack([COLOURS, ALPHA]))
    np.testing.assert_array_equal(written(tmp_path / "a", image, form, **how), on_white(COLOURS, ALPHA))


def test_grey_with_transparency_is_grey(tmp_path):
    image = Image.merge("LA", (Image.fromarray(RAMP), Image.fromarray(ALPHA)))
    np.testing.assert_array_equal(written(tmp_path / "a.png", image, "PNG"), on_white(RAMP, ALPHA))


def test_an_opaque_alpha_channel_changes_nothing(tmp_path):
    image = Image.fromarray(np.dstack([COLOURS, np.full_like(RAMP, 255)]))
    np.testing.assert_array_equal(written(tmp_path / "a.png", image, "PNG"), COLOURS)


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_colours(mode):
    """They hold share * colour already, so that what is missing to white is added."""
    colours = COLOURS if mode == "RGBa" else RAMP
    ours = Image.fromarray(np.dstack([colours, ALPHA]))
    found = pixels_of(ours.convert("RGBA" if mode == "RGBa" else "LA").convert(mode))
    # Pillow rounds the product, or cuts it
    assert np.abs(found.astype(int) - on_white(colours, ALPHA)).max() <= 1


PALETTE = [(10, 20, 30), (200, 100, 0), (0, 0, 0)]
INDEX = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)


def palette_image():
    image = Image.fromarray(INDEX)
    image.putpalette([value for colour in PALETTE for value in colour])
    return image


@pytest.mark.parametrize(("form", "transparency"), [("PNG", 1), ("GIF", 1), ("PNG", bytes([128, 255, 0]))])
def test_palette_with_transparent_colours(tmp_path, form, transparency):
    alphas = [0 if i == transparency else 255 for i in range(3)] if isinstance(transparency, int) else transparency
    found = written(tmp_path / "a", palette_image(), form, transparency=transparency)
    expected = on_white(np.array(PALETTE, np.uint8)[INDEX], np.array(list(alphas), np.uint8)[INDEX])
    np.testing.assert_array_equal(found, expected)


def test_palette_without_transparency(tmp_path):
    found = written(tmp_path / "a.png", palette_image(), "PNG")
    np.testing.assert_array_equal(found, np.array(PALETTE, np.uint8)[INDEX])


def test_palette_with_an_alpha_channel():
    image = palette_image().convert("PA")
    image.putalpha(Image.fromarray(INDEX * 100))
    np.testing.assert_array_equal(pixels_of(image), on_white(np.array(PALETTE, np.uint8)[INDEX], INDEX * 100))


def test_one_transparent_colour(tmp_path):
    transparent = tuple(COLOURS[1, 2].tolist())
    expected = np.where((COLOURS[1, 2] == COLOURS).all(-1, keepdims=True), 255, COLOURS)
    found = written(tmp_path / "a.png", Image.fromarray(COLOURS), "PNG", transparency=transparent)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_one_transparent_grey_of_any_depth(tmp_path, bits):
    """The file of https://www.w3.org/TR/png-3 by hand: values of `bits` bits, of which the value 1 is transparent."""
    values = np.arange(16) % 2**bits
    packed = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(16, 16)[:, -bits:]
    grey = struct.pack(">IIBBBBB", 16, 1, bits, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        png(IHDR=grey, tRNS=struct.pack(">H", 1), IDAT=zlib.compress(b"\0" + np.packbits(packed).tobytes()))
    )
    most = 65535 if bits == 16 else 255
    np.testing.assert_array_equal(read(path)[0], np.where(values == 1, most, values * most // (2**bits - 1)))


def test_16_bit_colour_with_a_transparent_one_is_refused_by_name(tmp_path):
    colour = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = struct.pack(">HHH", 1000, 2000, 3000)
    path = tmp_path / "a.png"
    path.write_bytes(png(IHDR=colour, tRNS=pixel, IDAT=zlib.compress(b"\0" + pixel)))
    assert "16-bit colour with a transparent one" in refusal(path)
    path.write_bytes(png(IHDR=colour, IDAT=zlib.compress(b"\0" + pixel)))
    np.testing.assert_array_equal(read(path), [[[1000 // 256, 2000 // 256, 3000 // 256]]])


def png(**chunks):
    parts = [(name.encode() + content) for name, content in [*chunks.items(), ("IEND", b"")]]
    framed = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


DEEP = RAMP.astype(np.uint16) * 250 + 7


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey(tmp_path, form):
    found = written(tmp_path / "a", Image.fromarray(DEEP), form)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, DEEP)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "I;16L", "I;16N"])
def test_modes_of_whole_numbers(mode):
    image = Image.new(mode, (7, 5))
    for (row, column), value in np.ndenumerate(DEEP):
        image.putpixel((column, row), int(value))
    np.testing.assert_array_equal(pixels_of(image), DEEP)


def tiff(path, photometric, bits, kind, values, width=None):
    """An uncompressed TIFF of one strip, little-endian. kind is its SampleFormat: 1 unsigned, 2 signed, 3 floats."""
    tags = {
        256: width or values.shape[1],
        257: values.shape[0],
        258: bits,
        259: 1,
        262: photometric,
        277: 1,
        278: 99,
        339: kind,
    }
    content = values.tobytes()
    tags |= {273: 8, 279: len(content)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    head = struct.pack("<2sHI", b"II", 42, 8 + len(content))
    path.write_bytes(head + content + struct.pack("<H", len(tags)) + entries + bytes(4))


def test_16_bit_grey_whose_zero_is_white(tmp_path):
    tiff(tmp_path / "a.tif", 0, 16, 1, DEEP)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), 65535 - DEEP)
    tiff(tmp_path / "a.tif", 0, 32, 3, (DEEP / 65535).astype(np.float32))
    np.testing.assert_allclose(read(tmp_path / "a.tif"), 1 - DEEP / 65535, rtol=0, atol=2**-23)


def test_8_bit_grey_whose_zero_is_white(tmp_path):
    tiff(tmp_path / "a.tif", 0, 8, 1, RAMP)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), 255 - RAMP)


def test_12_bit_grey(tmp_path):
    values = (DEEP[:, :6] // 16).astype(int)
    bits = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(5, 6, 16)[:, :, 4:]
    tiff(tmp_path / "a.tif", 1, 12, 1, np.packbits(bits.reshape(5, -1), axis=1), width=6)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), np.rint(values / 4095 * 65535))


def test_floats_in_0_to_1(tmp_path):
    values = (DEEP / 65535).astype(np.float32)
    for form in ("TIFF", "PPM"):  # PPM: a portable float map
        found = written(tmp_path / "a", Image.fromarray(values), form)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    "values", [np.float32([[0, 1.5]]), np.float32([[-0.1, 1]]), np.float32([[np.nan, 0]]), np.int32([[-1, 7]])], ids=str
)
def test_values_without_a_scale_are_refused_by_name(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    text = refusal(tmp_path / "a.tif")
    assert f"mode is {'F' if values.dtype == np.float32 else 'I'}" in text
    assert f"from {values.min()} to {values.max()}" in text


def test_black_and_white(tmp_path):
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    for form in ("PNG", "PPM", "BMP", "TIFF"):
        np.testing.assert_array_equal(written(tmp_path / "a", image, form), np.where(RAMP > 100, 255, 0))


INK = np.dstack([COLOURS, RAMP // 2])  # cyan, magenta, yellow, black


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_ink_on_paper(tmp_path, form):
    """Each ink takes its share of the light that the black one leaves. JPEG, in Adobe's way, holds what they leave."""
    image = Image.frombytes("CMYK", (7, 5), INK.tobytes())
    how = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    found = written(tmp_path / "a", image, form, **how).astype(int)
    left = 255 - INK.astype(float)
    # Pillow rounds once, JPEG each of its coefficients as well
    assert np.abs(found - left[..., :3] * left[..., 3:] / 255).max() <= (16 if form == "JPEG" else 1)


def test_luma_and_chroma(tmp_path):
    """ITU-R 601: R = Y + 1.402 (Cr - 128) and so on, cut at 0 and 255."""
    luma = np.dstack([RAMP // 2 + 60, RAMP // 4 + 100, 150 - RAMP // 4]).astype(np.uint8)
    y, cb, cr = (luma[..., i].astype(float) - (128 if i else 0) for i in range(3))
    expected = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255)
    found = written(tmp_path / "a.tif", Image.frombytes("YCbCr", (7, 5), luma.tobytes()), "TIFF")
    assert np.abs(found - expected).max() <= 1.01


def test_lab(tmp_path):
    """Grey of lightness L has, in sRGB, the luminance that the CIE gives to L."""
    lightness = np.array([[0, 60, 128, 200, 255]], np.uint8)
    image = Image.frombytes("LAB", (5, 1), np.dstack([lightness, *[np.zeros_like(lightness)] * 2]).tobytes())
    found = written(tmp_path / "a.tif", image, "TIFF")
    level = lightness / 255 * 100
    luminance = np.where(level > 8, ((level + 16) / 116) ** 3, level / 903.3)
    expected = 255 * np.where(luminance > 0.0031308, 1.055 * luminance ** (1 / 2.4) - 0.055, 12.92 * luminance)
    assert np.abs(found - expected[..., None]).max() <= 2


def test_hue():
    """Full saturation and value: red, then two thirds around the circle blue."""
    image = Image.frombytes("HSV", (2, 1), bytes([0, 255, 255, 170, 255, 255]))
    np.testing.assert_array_equal(pixels_of(image), [[[255, 0, 0], [0, 0, 255]]])


def test_unused_fourth_channel():
    image = Image.frombytes("RGBX", (7, 5), np.dstack([COLOURS, RAMP]).tobytes())
    np.testing.assert_array_equal(pixels_of(image), COLOURS)


def test_every_mode_that_pillow_knows_is_read():
    for mode in Image.MODES:
        shape = pixels_of(Image.new(mode, (3, 2))).shape
        assert shape == ((2, 3) if mode[0] in "1LIF" and mode != "LAB" else (2, 3, 3)), mode


@pytest.mark.parametrize("other", ["float", "8 bits"])
def test_pictures_of_different_depth_get_one_scale(tmp_path, other):
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    image = Image.fromarray((RAMP / 255).astype(np.float32) if other == "float" else RAMP)
    image.save(tmp_path / "other.tif")
    [(pixels, labels)] = read_images([(tmp_path / "deep.png", 3), (tmp_path / "other.tif", 5)])
    most = 1.0 if other == "float" else 65535
    np.testing.assert_allclose(pixels[0] / most, DEEP / 65535, rtol=2**-23)
    np.testing.assert_allclose(pixels[1] / most, RAMP / 255, rtol=2**-23)
    assert labels.tolist() == [3, 5]


def test_grey_beside_colour(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    Image.fromarray(COLOURS).save(tmp_path / "colours.png")
    [(one, _), (other, _)] = read_images([(tmp_path / "deep.png", 0)], [(tmp_path / "colours.png", 0)])
    np.testing.assert_array_equal(one[0], np.dstack([DEEP] * 3))
    np.testing.assert_array_equal(other[0], COLOURS.astype(int) * 257)


# ---- orientation, frames

ORIENTATIONS = {  # of https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf: how the stored rows become the picture
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_the_picture_is_turned_as_its_camera_was(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"lossless": True} if form == "WEBP" else {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    stored = written(tmp_path / "b", Image.fromarray(COLOURS), form, **how)
    found = written(tmp_path / "a", Image.fromarray(COLOURS), form, exif=exif, **how)
    np.testing.assert_array_equal(found, ORIENTATIONS[orientation](stored))


@pytest.mark.parametrize("exif", [b"garbage", b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_damaged_metadata_do_not_turn_a_picture(tmp_path, exif):
    image = Image.fromarray(COLOURS)
    plain = written(tmp_path / "plain", image, "JPEG")
    np.testing.assert_array_equal(written(tmp_path / "a", image, "JPEG", exif=exif), plain)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_the_first_frame_of_several_is_taken_and_the_reader_told(tmp_path, capsys, form):
    frames = [Image.fromarray(values) for values in (RAMP, RAMP[::-1], 255 - RAMP)]
    how = {"lossless": True} if form == "WEBP" else {}
    alone = written(tmp_path / "alone", frames[0], form, **how)
    assert capsys.readouterr().out == ""
    found = written(tmp_path / "a", frames[0], form, save_all=True, append_images=frames[1:], **how)
    np.testing.assert_array_equal(found, alone)
    line = f"of images with several frames the first is taken: 1 of 1, as {tmp_path / 'a'}\n"
    assert capsys.readouterr().out == line


# ---- damage


def refusal(path):
    """What DataError says of one picture: one line, with its path."""
    with pytest.raises(DataError) as error:
        read(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def files():
    """{name: bytes} of small pictures of every format, and of several kinds of some."""
    colour, grey = Image.fromarray(COLOURS), Image.fromarray(RAMP)
    made = {form: (colour, form, {}) for form in ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "SGI", "QOI")}
    made |= {f"TIFF {kind}": (colour, "TIFF", {"compression": kind}) for kind in ("tiff_lzw", "packbits", "jpeg")}
    made |= {"GIF": (colour.quantize(8), "GIF", {}), "GIF grey": (grey, "GIF", {}), "BMP grey": (grey, "BMP", {})}
    made |= {"PNG 16": (Image.fromarray(DEEP), "PNG", {}), "PNG palette": (colour.quantize(8), "PNG", {})}
    made |= {"PNG alpha": (Image.fromarray(np.dstack([COLOURS, ALPHA])), "PNG", {}), "PGM": (grey, "PPM", {})}
    made |= {"JPEG progressive": (colour, "JPEG", {"progressive": True})}
    exif = Image.Exif()
    exif[0x0112] = 6
    made |= {"JPEG turned": (colour, "JPEG", {"exif": exif}), "PNG turned": (colour, "PNG", {"exif": exif})}
    found = {}
    for name, (image, form, how) in made.items():
        image.save(content := io.BytesIO(), form, **how)
        found[name] = content.getvalue()
    return found


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_a_picture_cut_anywhere_is_refused_or_has_lost_no_pixel(tmp_path, name):
    path = tmp_path / "a"
    path.write_bytes(FILES[name])
    whole, size = read(path), len(FILES[name])
    for length in {*range(0, size, 7), *range(size - 25, size)}:
        path.write_bytes(FILES[name][:length])
        pixels = pixels_or_sentence(path)
        # ten bytes at the end may hold no pixel
        assert pixels is None or (length >= size - 10 and np.array_equal(pixels, whole))


def pixels_or_sentence(path):
    """The pixels of a picture, or None where one line says which cannot be read; nothing else may come of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read(path)
    except DataError as error:
        text = str(error)
    assert text.startswith(str(path))
    assert "\n" not in text
    return None


@settings(max_examples=150, derandomize=True, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(FILES)))
def test_damaged_bytes_are_a_sentence_or_a_picture(tmp_path_factory, data, name):
    content = bytearray(FILES[name])
    where = st.integers(0, len(content) - 1) | st.integers(0, min(60, len(content) - 1))  # more of them in the header
    for place in data.draw(st.lists(where, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged picture"
    path.write_bytes(content)
    pixels_or_sentence(path)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(head=st.sampled_from([content[:20] for content in FILES.values()]), tail=st.binary(max_size=100))
@example(head=b"", tail=b"")
@example(head=b"\x89PNG\r\n\x1a\n", tail=b"")
@example(head=b"BM", tail=bytes(60))
@example(head=b"P6 99999999999 99999999999 255\n", tail=b"x")
@example(head=b"P6 30000 30000 255\n", tail=b"x")
def test_bytes_that_begin_as_a_picture(tmp_path_factory, head, tail):
    path = tmp_path_factory.getbasetemp() / "begun picture"
    path.write_bytes(head + tail)
    pixels_or_sentence(path)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("PNG")])
def test_no_flipped_bit_of_a_png_changes_a_pixel(tmp_path, name):
    """Its chunks have checksums, of which Pillow alone leaves out some."""
    path = tmp_path / "a"
    path.write_bytes(FILES[name])
    whole = read(path)
    for bit in range(3, 8 * len(FILES[name]), 5):
        content = bytearray(FILES[name])
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        pixels = pixels_or_sentence(path)
        assert pixels is None or np.array_equal(pixels, whole)


def test_a_bomb_is_named(tmp_path):
    for pixels in (100_000_000, 400_000_000):  # Pillow warns of the first and refuses the second
        (tmp_path / "a.ppm").write_bytes(b"P6 %d 1 255\n" % pixels)
        assert "exceeds limit" in refusal(tmp_path / "a.ppm")


@pytest.mark.parametrize("make", [os.mkdir, lambda p: os.symlink(p, p), os.mkfifo, lambda p: os.symlink("gone", p)])
def test_what_is_no_file(tmp_path, make):
    make(tmp_path / "a.png")
    assert "it is no file" in refusal(tmp_path / "a.png")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    written(tmp_path / "a.png", Image.fromarray(RAMP), "PNG")

    def refuse(*args):
        raise PermissionError(13, "Permission denied", "again its path")

    monkeypatch.setattr("builtins.open", refuse)
    assert refusal(tmp_path / "a.png").endswith("cannot be read as an image: Permission denied")


def test_another_format_by_its_content(tmp_path):
    (tmp_path / "a.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )  # Pillow would start ghostscript
    assert "none of .png" in refusal(tmp_path / "a.png")


def test_formats():
    assert {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".gif", ".tif", ".tiff", ".webp"} <= suffixes()
    assert not {".eps", ".pdf", ".mpg", ".h5", ".tga"} & suffixes()
    assert set(formats()) <= set(FORMATS)
