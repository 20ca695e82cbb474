"""Addresses that a key is limited to."""

from __future__ import annotations

import pytest

from gateway.callers.addresses import is_within, parse_networks
from gateway.errors import ConfigurationError


@pytest.mark.parametrize(
    ("address", "networks", "within"),
    [
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.2.0.0", ["10.1.0.0/16"], False),
        ("10.2.0.0", ["10.1.0.0/16", "10.2.0.0"], True),
        ("10.2.0.1", ["10.2.0.0"], False),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("::ffff:10.2.2.3", ["10.1.0.0/16"], False),
        ("fd00::1", ["fd00::/8"], True),
        ("fe00::1", ["fd00::/8"], False),
        ("10.1.2.3", ["::/0"], False),
        ("fd00::1", ["0.0.0.0/0"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("testclient", ["0.0.0.0/0"], False),
        ("10.1.2.3, 8.8.8.8", ["0.0.0.0/0"], False),
    ],
)
def test_an_address_is_within_its_networks_and_no_others(
    address: str, networks: list[str], within: bool
) -> None:
    assert is_within(address, parse_networks(networks)) is within


@pytest.mark.parametrize(
    "text", ["", "10.1.0.1/16", "10.0.0.0/33", "everywhere", "10.0.0.0/8;", "256.0.0.1", "10.0.0"]
)
def test_what_is_no_network_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_networks([text])

    assert repr(text) in str(refused.value)


def test_a_key_has_no_more_networks_than_a_request_can_look_at() -> None:
    assert len(parse_networks(f"10.0.0.{number}" for number in range(64))) == 64
    with pytest.raises(ConfigurationError, match="at most 64"):
        parse_networks(f"10.0.0.{number}" for number in range(65))
