"""Where the gateway is reached from outside: a scheme and a host, and nothing that is odd."""

from __future__ import annotations

import pytest

from gateway.doors.places import Places, places_in
from gateway.errors import ConfigurationError
from gateway.settings import Settings

OURS = "https://jobgate.example.com"
OFFICE = "https://office.example.com"


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ("", ""),
        (OURS, OURS),
        (f"{OURS}/", OURS),
        ("HTTPS://Jobgate.Example.com:8443", "https://jobgate.example.com:8443"),
        ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
        ("http://[::1]:4000", "http://[::1]:4000"),
    ],
)
def test_an_address_is_a_scheme_and_a_host(told: str, known: str) -> None:
    assert places_in(Settings(public_url=told)) == Places(known, known)


@pytest.mark.parametrize(
    "text",
    [
        "jobgate.example.com",
        "//jobgate.example.com",
        "ftp://jobgate.example.com",
        "https://",
        "https://:443",
        "https://jobgate.example.com:",
        "https://jobgate.example.com:0",
        "https://jobgate.example.com:99999",
        "https://jobgate.example.com:port",
        "https://jobgate.example.com/gateway",
        "https://jobgate.example.com?a=b",
        "https://jobgate.example.com#a",
        "https://somebody:secret@jobgate.example.com",
        "https://jobgate.example.com\nHost: evil.example",
        "https://job gate.example.com",
        "https://jobgäte.example.com",
        'https://"><script>.example.com',
        "https://[::1",
    ],
)
@pytest.mark.parametrize("name", ["public_url", "office_url"])
def test_what_is_more_or_less_than_that_does_not_start(name: str, text: str) -> None:
    settings = Settings(office_address="127.0.0.1:4001", **{name: text})  # type: ignore[arg-type]

    with pytest.raises(ConfigurationError) as refused:
        places_in(settings)

    assert f"JOBGATE_{name.upper()} {text!r}: write a scheme and a host" in str(refused.value)


def test_the_office_is_where_the_public_is_unless_it_has_an_address_of_its_own() -> None:
    apart = Settings(public_url=OURS, office_url=OFFICE, office_address="127.0.0.1:4001")
    assert places_in(apart) == Places(OURS, OFFICE)
    assert places_in(Settings(public_url=OURS, office_address="127.0.0.1:4001")) == Places(OURS, "")
    with pytest.raises(ConfigurationError, match="no address of its own"):
        places_in(Settings(public_url=OURS, office_url=OFFICE))
