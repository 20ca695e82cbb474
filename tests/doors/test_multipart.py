"""Forms with files: whatever a client of another make sends is read back byte by byte."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.multipart import parts_of

names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)
PART = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1'


@given(
    fields=st.dictionaries(names, names),
    files=st.lists(st.tuples(names, st.binary(max_size=300)), min_size=1, max_size=4),
)
def test_what_a_browser_sends_is_what_is_read(
    fields: dict[str, str], files: list[tuple[str, bytes]]
) -> None:
    sent = [("files", (name, content)) for name, content in files]
    request = httpx.Request("POST", "http://127.0.0.1", data=fields, files=sent)

    told, uploads = parts_of(request.headers["content-type"], request.read())

    assert told == fields
    assert [(one.field, one.name, one.content) for one in uploads] == [
        ("files", name, content) for name, content in files
    ]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", PART + b"\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 71, PART + b"\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", PART),
        ("multipart/form-data; boundary=x", b"before" + PART + b"\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n1\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\ncontent-type: text/plain\r\n\r\n1\r\n--x--"),
        ("multipart/form-data; boundary=x", PART.replace(b"1", b"\xff") + b"\r\n--x--"),
        ("multipart/form-data; boundary=x", (PART + b"\r\n") * 200 + b"--x--"),
        ("multipart/form-data; boundary=x", PART.replace(b"\r\n\r\n", b"\r\n") + b"\r\n--x--"),
    ],
)
def test_what_no_browser_sends_is_no_form(content_type: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"boundary|parts|part has|decode"):
        parts_of(content_type, body)


@given(st.binary(max_size=400))
def test_nothing_else_than_a_refusal_comes_of_noise(noise: bytes) -> None:
    for body in (noise, PART + noise, PART + b"\r\n--x" + noise + b"\r\n--x--"):
        try:
            parts_of("multipart/form-data; boundary=x", body)
        except ValueError:
            continue
