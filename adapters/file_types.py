"""What a file is, by its bytes: the types that WhatsApp carries, and those that must not pass for one of them.

Why no package: `filetype` knows no text, no HTML and no older Office files, and has had no release since 2022;
`puremagic` takes every ZIP file for a Word document, and 3GP and audio for MP4 video.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

UNKNOWN: Final = "application/octet-stream"
HTML: Final = "text/html"
PROGRAM: Final = "application/x-executable"
"""A program or a script of any system."""

_OPENXML: Final = "application/vnd.openxmlformats-officedocument"
DOCX: Final = f"{_OPENXML}.wordprocessingml.document"
XLSX: Final = f"{_OPENXML}.spreadsheetml.sheet"
PPTX: Final = f"{_OPENXML}.presentationml.presentation"

ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png",),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
    "video/mp4": (".mp4", ".m4v"),
    "video/3gpp": (".3gp", ".3gpp"),
    "video/quicktime": (".mov", ".qt"),
    "audio/aac": (".aac",),
    "audio/amr": (".amr",),
    "audio/mp4": (".m4a", ".mp4"),
    "audio/mpeg": (".mp3", ".mpga"),
    "audio/ogg": (".ogg", ".oga", ".opus"),
    "application/pdf": (".pdf",),
    "application/msword": (".doc", ".dot"),
    "application/vnd.ms-excel": (".xls", ".xlt"),
    "application/vnd.ms-powerpoint": (".ppt", ".pps", ".pot"),
    DOCX: (".docx",),
    XLSX: (".xlsx",),
    PPTX: (".pptx",),
    "text/plain": (".txt", ".csv", ".tsv", ".log", ".md", ".json", ".ics", ".vcf"),
    "application/zip": (".zip",),
}
"""How the names of files end, the usual ending first."""

_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"#!AMR", "audio/amr"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x7fELF", PROGRAM),
    (b"\xfe\xed\xfa\xce", PROGRAM),
    (b"\xfe\xed\xfa\xcf", PROGRAM),
    (b"\xce\xfa\xed\xfe", PROGRAM),
    (b"\xcf\xfa\xed\xfe", PROGRAM),
    (b"\xca\xfe\xba\xbe", PROGRAM),
    (b"dex\n", PROGRAM),
    (b"#!", PROGRAM),
)
_SHORT_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"BM", "image/bmp"),
    (b"\x1f\x8b", "application/gzip"),
    (b"MZ", PROGRAM),
)
"""Those that a text may have too."""

_RIFF: Final[Mapping[bytes, str]] = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS: Final[Mapping[bytes, str]] = {
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"avif": "image/avif",
    b"avis": "image/avif",
}
_PARTS_OF_ZIP: Final = ((b"word/document.xml", DOCX), (b"xl/workbook.", XLSX), (b"ppt/presentation.xml", PPTX))
_PARTS_OF_OLE: Final = (
    ("WordDocument".encode("utf-16-le"), "application/msword"),
    ("Workbook".encode("utf-16-le"), "application/vnd.ms-excel"),
    ("PowerPoint Document".encode("utf-16-le"), "application/vnd.ms-powerpoint"),
)
_CODECS_OF_OGG: Final = ((b"OpusHead", "audio/ogg"), (b"theora", "video/ogg"), (b"vorbis", "audio/vorbis"))
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TRACKS: Final = re.compile(rb"hdlr.{8}(vide|soun)", re.S)
_MARKUP: Final = re.compile(
    rb"(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|script|iframe|table|div|title|style|meta|br|p|a|h1|font)"
    rb"(?:[\s>/]|$)",
    re.I | re.S,
)
_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_LOOKED_AT: Final = 8192


def content_type(body: bytes) -> str:
    """The type of a file with these bytes; UNKNOWN where it is none of those that are known here.

    `audio/ogg` is OGG with Opus, the only one that WhatsApp plays. MP4 without pictures is `audio/mp4`.
    """
    if body[:4] == b"RIFF":
        return _RIFF.get(body[8:12], UNKNOWN)
    if body[4:8] == b"ftyp":
        return _of_mp4(body)
    if body[:4] == b"OggS":
        return next((found for codec, found in _CODECS_OF_OGG if codec in body[:128]), "application/ogg")
    if body[:4] == b"PK\x03\x04":
        return next((found for part, found in _PARTS_OF_ZIP if part in body), "application/zip")
    if body[:8] == _OLE:
        return next((found for part, found in _PARTS_OF_OLE if part in body), "application/x-ole-storage")
    head = body[:_LOOKED_AT]
    beginnings = _BEGINNINGS + (_SHORT_BEGINNINGS if _BINARY.search(head) else ())
    if (known := next((found for beginning, found in beginnings if head.startswith(beginning)), None)) is not None:
        return known
    return _of_frames(head) or _of_text(head) or UNKNOWN


def _of_mp4(body: bytes) -> str:
    brand = body[8:12]
    if brand[:2] == b"3g":
        return "video/3gpp" if brand[2:3] == b"p" else "video/3gpp2"
    if brand in _BRANDS:
        return _BRANDS[brand]
    tracks = set(_TRACKS.findall(body))  # recorders name sound alone by the brand of video
    return "audio/mp4" if tracks == {b"soun"} else "video/mp4"


def _of_frames(body: bytes) -> str | None:
    """Sound that begins with its first frame: AAC (ADTS) and MP3."""
    if len(body) < 4 or body[0] != 0xFF:
        return None
    if body[1] & 0xF6 == 0xF0:
        return "audio/aac"
    third_layer, rate = body[1] & 0xE6 == 0xE2, body[2] >> 4
    return "audio/mpeg" if third_layer and 0 < rate < 15 else None


def _of_text(head: bytes) -> str | None:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "text/plain"  # UTF-16
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text or _BINARY.search(head):
        return None
    if text.startswith(b"%PDF-"):
        return "application/pdf"
    if _MARKUP.match(text) or (text.startswith(b"<") and b"<html" in text.lower()):
        return HTML
    if text.startswith(b"<") and b"<svg" in text:
        return "image/svg+xml"
    return "application/xml" if text.startswith(b"<?xml") else "text/plain"
