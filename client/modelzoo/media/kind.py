"""What kind of thing bytes are, by how they begin: to choose a decoder, and to tell a caller what was sent instead.

Only the start decides, so bytes that are several things at once are the one that their first bytes say.
"""

import base64
import binascii
import re
from enum import StrEnum

__all__ = ["Kind", "kind_of"]

TEXT_BYTES = 1024  # of the start that is looked at to tell kinds of text apart


class Kind(StrEnum):
    """A kind of content, as a sentence names it."""

    PNG = "a PNG picture"
    JPEG = "a JPEG picture"
    WEBP = "a WebP picture"
    GIF = "a GIF picture"
    BMP = "a BMP picture"
    TIFF = "a TIFF picture"
    WAV = "a WAV sound"
    FLAC = "a FLAC sound"
    OGG = "an Ogg file"
    MP3 = "an MP3 sound"

    # Never decoded here.
    AVIF = "an AVIF picture"
    BIG_TIFF = "a BigTIFF picture"
    HEIC = "a HEIC picture"
    ICO = "an icon (ICO)"
    JPEG_2000 = "a JPEG 2000 picture"
    JPEG_XL = "a JPEG XL picture"
    PSD = "a Photoshop file"
    SVG = "an SVG drawing"
    AAC = "an AAC sound"
    AIFF = "an AIFF sound"
    AMR = "an AMR sound"
    AU = "an AU sound"
    CAF = "a CAF sound"
    M4A = "an M4A sound"
    MIDI = "a MIDI file"
    AVI = "an AVI video"
    MATROSKA = "a WebM or Matroska video"
    MP4 = "an MP4 or QuickTime video"
    MPEG = "an MPEG video"
    WINDOWS_MEDIA = "a Windows Media file"
    GZIP = "a gzip file"
    NUMPY = "a NumPy array file"
    PDF = "a PDF document"
    POSTSCRIPT = "a PostScript document"
    ZIP = "a zip archive"
    ADDRESS = "an address, which is not fetched"
    BASE64 = "base64 text"
    HTML = "an HTML page"
    FORM = "a multipart form, where the file's bytes alone are wanted (curl --data-binary @FILE)"
    JSON = "JSON"
    TEXT = "plain text"
    XML = "XML"
    UNKNOWN = "nothing known"


_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", Kind.PNG),
    (b"\xff\xd8\xff", Kind.JPEG),
    (b"GIF87a", Kind.GIF),
    (b"GIF89a", Kind.GIF),
    (b"BM", Kind.BMP),
    (b"II*\0", Kind.TIFF),
    (b"MM\0*", Kind.TIFF),
    (b"II+\0", Kind.BIG_TIFF),
    (b"MM\0+", Kind.BIG_TIFF),
    (b"fLaC", Kind.FLAC),
    (b"OggS", Kind.OGG),
    (b"ID3", Kind.MP3),
    (b"\0\0\1\0", Kind.ICO),
    (b"\0\0\0\x0cjP  ", Kind.JPEG_2000),
    (b"\xff\x4f\xff\x51", Kind.JPEG_2000),
    (b"\0\0\0\x0cJXL ", Kind.JPEG_XL),
    (b"\xff\x0a", Kind.JPEG_XL),
    (b"8BPS", Kind.PSD),
    (b"#!AMR", Kind.AMR),
    (b".snd", Kind.AU),
    (b"caff", Kind.CAF),
    (b"MThd", Kind.MIDI),
    (b"\x1aE\xdf\xa3", Kind.MATROSKA),
    (b"\0\0\1\xba", Kind.MPEG),
    (b"\0\0\1\xb3", Kind.MPEG),
    (b"0&\xb2u\x8ef\xcf\x11", Kind.WINDOWS_MEDIA),
    (b"\x1f\x8b", Kind.GZIP),
    (b"\x93NUMPY", Kind.NUMPY),
    (b"%PDF-", Kind.PDF),
    (b"%!PS", Kind.POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", Kind.POSTSCRIPT),
    (b"PK\3\4", Kind.ZIP),
    (b"http://", Kind.ADDRESS),
    (b"https://", Kind.ADDRESS),
    (b"data:", Kind.BASE64),
    (b"--", Kind.FORM),
)
# A container's second name: where it stands, and what it makes of the container.
_RIFF = {b"WAVE": Kind.WAV, b"WEBP": Kind.WEBP, b"AVI ": Kind.AVI}
_BRANDS = {b"avif": Kind.AVIF, b"avis": Kind.AVIF, b"heic": Kind.HEIC, b"heix": Kind.HEIC, b"mif1": Kind.HEIC}
_HTML = re.compile(rb"<(?:!doctype html|html|head|body|title|script|div|p|h1)\b", re.IGNORECASE)
_MARKUP = re.compile(rb"<[?!A-Za-z]")
_JSON = re.compile(rb"""[{\[]\s*(?:["\[{\]}0-9tfn-])""")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}\s*\Z")


def kind_of(data: bytes) -> Kind:
    """What `data` looks like; UNKNOWN for what resembles nothing that people send by mistake."""
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    return _container(data) or _mpeg_audio(data) or _text(data)


def _container(data: bytes) -> Kind | None:
    if data[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(data[8:12])
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return Kind.AIFF
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return Kind.M4A if brand.startswith(b"M4A") else _BRANDS.get(brand, Kind.MP4)
    return None


def _mpeg_audio(data: bytes) -> Kind | None:
    """MPEG audio without a tag in front begins with a frame: ISO/IEC 11172-3, 2.4.2.3."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer, bit_rate, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2] >> 4, data[2] >> 2 & 3
    if layer == 0 and data[1] & 0xF0 == 0xF0:
        return Kind.AAC
    return Kind.MP3 if version != 1 and layer in (1, 2) and bit_rate != 15 and rate != 3 else None


def _text(data: bytes) -> Kind:
    text = data[:TEXT_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if _MARKUP.match(text):
        if b"<svg" in text:
            return Kind.SVG
        return Kind.HTML if _HTML.search(text) else Kind.XML
    if _JSON.match(text):
        return Kind.JSON
    if _BASE64.match(text) and _is_base64_of_something(text):
        return Kind.BASE64
    try:
        characters = text.decode()
    except UnicodeDecodeError as error:
        if error.start < len(text) - 3:  # else the cut at TEXT_BYTES halved a character
            return Kind.UNKNOWN
        characters = text[: error.start].decode()
    readable = bool(characters) and all(c.isprintable() or c in "\r\n\t\f" for c in characters)
    return Kind.TEXT if readable else Kind.UNKNOWN


def _is_base64_of_something(text: bytes) -> bool:
    """Any word of letters is base64; what people mean by it decodes to something that is known, and no text."""
    start = text[: min(len(text) // 4 * 4, 64)].replace(b"-", b"+").replace(b"_", b"/")
    try:
        decoded = base64.b64decode(start)
    except binascii.Error:
        return False
    known = any(decoded.startswith(magic) for magic, _ in _STARTS) or _container(decoded) or _mpeg_audio(decoded)
    return bool(known)
