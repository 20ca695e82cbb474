"""The signature of a webhook: HMAC-SHA256 over the time and the body. Pure; see docs/alerts.md.

    X-Jobgate-Timestamp: 1793620800                    seconds since 1970, of this attempt
    X-Jobgate-Signature: v1=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
    X-Jobgate-Delivery:  dlv_…                         the same in every attempt

The time is signed too, so that an old delivery cannot be played again later as a new one.
"""

from __future__ import annotations

import hashlib
import hmac

from gateway.clock import MICROS

SCHEME = "v1"


def signed_headers(secret: str, delivery: str, body: bytes, now: int) -> dict[str, str]:
    """The headers that prove a body; `now` in microseconds since 1970."""
    timestamp = str(now // MICROS)
    proved = timestamp.encode() + b"." + body
    signature = hmac.new(secret.encode(), proved, hashlib.sha256).hexdigest()
    return {
        "X-Jobgate-Timestamp": timestamp,
        "X-Jobgate-Signature": f"{SCHEME}={signature}",
        "X-Jobgate-Delivery": delivery,
    }
