"""Which addresses a key may be used from: networks in CIDR notation, asked from memory.

The address is the one at the other end of the connection. What a header says of it is nobody's
proof, so behind a proxy it is the proxy's address that is limited.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from gateway.errors import ConfigurationError

Network = IPv4Network | IPv6Network
ADDRESSES_AT_MOST = 64
"""Networks that one key can have: each request looks at all of them."""


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks such as 10.0.0.0/8, or single addresses. Raises ConfigurationError."""
    found: list[Network] = []
    problems = []
    for text in texts:
        try:
            found.append(ip_network(text.strip()))
        except ValueError as error:
            problems.append(f"address {text!r}: {error}; write such as 10.1.0.0/16 or 10.1.2.3")
    if len(found) > ADDRESSES_AT_MOST:
        problems.append(f"addresses: a key has at most {ADDRESSES_AT_MOST} networks")
    if problems:
        raise ConfigurationError(problems)
    return tuple(dict.fromkeys(found))


def is_within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks; what is no address is in none."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # an IPv4 caller on a socket that listens for both
    return any(found in network for network in networks)
