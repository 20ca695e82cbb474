"""An error that comes as a success names its status inside, in one of several shapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.errors import error_status

BODIES: dict[bytes, int | None] = {
    b'{"error":{"message":"filtered","code":"content_filter","status":400}}': 400,
    b'{"error":{"message":"slow down","code":429}}': 429,
    b'{"error":{"message":"slow down","code":"429"}}': 429,
    b'{"error":{"message":"bad call","status_code":400,"code":"tool_use_failed"}}': 400,
    b'{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}': 503,
    b'[{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}]': 403,
    b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}': 529,
    b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}': 400,
    b'{"object":"error","message":"no","code":404}': 404,
    b'{"error":"no such model","status":404}': 404,
    b'{"error":"no such model"}': None,
    b'{"error":{"message":"no","code":200}}': None,
    b'{"error":{"message":"no","code":true}}': None,
    b'{"error":{"message":"no","code":99999}}': None,
    b'{"choices":[]}': None,
    b"[]": None,
    b"<html>": None,
    b"": None,
}


@pytest.mark.parametrize(("body", "status"), BODIES.items())
def test_the_status_inside_a_body_is_found(body: bytes, status: int | None) -> None:
    assert error_status(body) == status


@given(body=st.binary(max_size=60))
def test_no_body_raises(body: bytes) -> None:
    assert error_status(body) is None or 400 <= (error_status(body) or 0) <= 599
