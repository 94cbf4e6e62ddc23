"""What a file is, by its bytes."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.file_types import DOCX, ENDINGS, HTML, PPTX, PROGRAM, UNKNOWN, XLSX, content_type

PICTURES = frozenset({"image/jpeg", "image/png"})
SOUND_AND_PICTURES = PICTURES | {
    "video/mp4",
    "video/3gpp",
    "audio/aac",
    "audio/amr",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
}


def zipped(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 100)
    return made.getvalue()


def ole(stream: str) -> bytes:
    return bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1016) + stream.encode("utf-16-le") + bytes(512)


def mp4(brand: str, *tracks: str) -> bytes:
    boxes = b"".join(b"\0\0\0\x21hdlr" + bytes(8) + track.encode() + bytes(13) for track in tracks)
    return b"\0\0\0\x18ftyp" + brand.encode() + b"\0\0\2\0isommp42" + boxes + bytes(40)


def ogg(first: bytes) -> bytes:
    return b"OggS\0\2" + bytes(22) + first + bytes(50)


FILES: list[tuple[bytes, str]] = [
    (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(50), "image/jpeg"),
    (b"\xff\xd8\xff\xdb\0\x43" + bytes(50), "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(50), "image/png"),
    (b"GIF89a" + bytes(50), "image/gif"),
    (b"RIFF\x20\0\0\0WEBPVP8 " + bytes(50), "image/webp"),
    (b"RIFF\x20\0\0\0WAVEfmt " + bytes(50), "audio/wav"),
    (b"RIFF\x20\0\0\0nope" + bytes(50), UNKNOWN),
    (b"BM\x36\0\0\0" + bytes(50), "image/bmp"),
    (mp4("isom", "vide", "soun"), "video/mp4"),
    (mp4("mp42", "vide"), "video/mp4"),
    (mp4("avc1"), "video/mp4"),
    (mp4("mp42", "soun"), "audio/mp4"),
    (mp4("M4A "), "audio/mp4"),
    (mp4("3gp5", "vide"), "video/3gpp"),
    (mp4("3g2a", "vide"), "video/3gpp2"),
    (mp4("qt  ", "vide"), "video/quicktime"),
    (mp4("heic"), "image/heic"),
    (mp4("avif"), "image/avif"),
    (b"ID3\x03\0\0\0\0\x0f\x76" + bytes(50), "audio/mpeg"),
    (b"\xff\xfb\x90\x64" + bytes(50), "audio/mpeg"),
    (b"\xff\xf1\x50\x80\x04\x1f\xfc" + bytes(50), "audio/aac"),
    (b"#!AMR\n" + bytes(50), "audio/amr"),
    (ogg(b"OpusHead\1\1"), "audio/ogg"),
    (ogg(b"\1vorbis"), "audio/vorbis"),
    (ogg(b"\x80theora"), "video/ogg"),
    (ogg(b"Speex   "), "application/ogg"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "application/pdf"),
    (b"\xef\xbb\xbf\n%PDF-1.4\n", "application/pdf"),
    (zipped("[Content_Types].xml", "word/document.xml"), DOCX),
    (zipped("xl/workbook.xml", "[Content_Types].xml"), XLSX),
    (zipped("[Content_Types].xml", "xl/workbook.bin"), XLSX),
    (zipped("[Content_Types].xml", "ppt/presentation.xml"), PPTX),
    (zipped("a.txt"), "application/zip"),
    (ole("WordDocument"), "application/msword"),
    (ole("Workbook"), "application/vnd.ms-excel"),
    (ole("PowerPoint Document"), "application/vnd.ms-powerpoint"),
    (ole("Property"), "application/x-ole-storage"),
    (b"Good morning\n", "text/plain"),
    ("שלום".encode(), "text/plain"),
    (b"\xff\xfeh\0i\0", "text/plain"),
    (b"MZ is a country code no more", "text/plain"),
    (b"BMW, VW\n1,2\n", "text/plain"),
    (b"{\\rtf1\\ansi", "application/rtf"),
    (b"<!DOCTYPE html><html>", HTML),
    (b"\n\t <HTML lang=en>", HTML),
    (b"\xef\xbb\xbf<!-- hello -->\n<script>alert(1)</script>", HTML),
    (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html xmlns="x">', HTML),
    (b'<?xml version="1.0"?><svg xmlns="x"><script/></svg>', "image/svg+xml"),
    (b'<?xml version="1.0"?><order/>', "application/xml"),
    (b"MZ\x90\0\3\0\0\0" + bytes(50), PROGRAM),
    (b"\x7fELF\2\1\1" + bytes(50), PROGRAM),
    (b"\xca\xfe\xba\xbe\0\0\0\x34", PROGRAM),
    (b"#!/bin/sh\nrm -rf /", PROGRAM),
    (b"\x1f\x8b\x08\0" + bytes(20), "application/gzip"),
    (b"", UNKNOWN),
    (b"   ", UNKNOWN),
    (b"\0\1\2\3", UNKNOWN),
]


@pytest.mark.parametrize(("body", "wanted"), FILES, ids=[f"{n}-{wanted}" for n, (_, wanted) in enumerate(FILES)])
def test_a_file_is_known_by_its_bytes(body: bytes, wanted: str) -> None:
    assert content_type(body) == wanted


@given(st.binary(max_size=300))
def test_any_bytes_have_a_type(body: bytes) -> None:
    assert "/" in content_type(body)


@given(
    st.sampled_from(
        ["<!doctype html>", "<html>", "<script>", "<svg xmlns='x'>", "<iframe ", "#!/bin/sh\n", "MZ\0", "\x7fELF"]
    ),
    st.text(alphabet=" \n\t", max_size=5),
    st.binary(max_size=100),
)
def test_neither_a_page_nor_a_program_passes_for_a_picture_or_sound(begin: str, blanks: str, rest: bytes) -> None:
    before = blanks if begin.startswith("<") else ""
    assert content_type((before + begin).encode() + rest) not in SOUND_AND_PICTURES


def test_each_type_that_names_are_made_for_has_endings_of_their_usual_form() -> None:
    assert all(endings and all(e.startswith(".") and e == e.lower() for e in endings) for endings in ENDINGS.values())
