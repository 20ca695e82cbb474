"""Forms with files, as browsers send them: multipart/form-data (RFC 7578), whole and in memory.

The body was read within its bound before. What a browser never sends, such as parts within parts or
without a name, is no form. A pure function of bytes.
"""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesHeaderParser

from gateway.web.pages import Upload

FORM_WITH_FILES = "multipart/form-data"
_PARTS_AT_MOST = 100
_HEAD_AT_MOST = 2_000
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")


def parts_of(content_type: str, body: bytes) -> tuple[dict[str, str], list[Upload]]:
    """The fields of a form, without spaces around and without empty ones, and its files in order.

    A file that was not chosen is left out. Raises ValueError for what is no such form.
    """
    head = Message()
    head["content-type"] = content_type
    boundary = str(head.get_param("boundary", ""))
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError("there is no boundary")
    mark = b"--" + boundary.encode("ascii")
    first, *parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if first or not parts or not parts[-1].startswith(b"--") or len(parts) > _PARTS_AT_MOST:
        raise ValueError("the parts are not as a browser sends them")
    fields: dict[str, str] = {}
    files: list[Upload] = []
    for part in parts[:-1]:
        name, file_name, content = _part(part)
        if file_name is None:
            text = content.decode("utf-8").strip()
            if text:
                fields[name] = text
        elif file_name or content:
            files.append(Upload(name, file_name, content))
    return fields, files


def _part(part: bytes) -> tuple[str, str | None, bytes]:
    """The name of a part, the name of its file if it is one, and what is in it."""
    head, is_there, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not is_there or len(head) > _HEAD_AT_MOST:
        raise ValueError("a part has no head")
    told = BytesHeaderParser().parsebytes(head.decode("utf-8").encode("ascii", "replace"))
    name = told.get_param("name", header="content-disposition")
    file_name = told.get_param("filename", None, header="content-disposition")
    if told.get_content_disposition() != "form-data" or not isinstance(name, str) or not name:
        raise ValueError("a part has no name")
    return name, None if file_name is None else str(file_name), content
