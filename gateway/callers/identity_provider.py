"""A sign-in service that speaks OpenID Connect: the way there, and the proof that comes back.

Owns the authorisation code flow with PKCE, state and nonce. It keeps nothing between the two
halves: what has to be remembered is one secret that the browser keeps, and state, nonce and the
verifier are made from it, each in a way that tells nothing of the others. So any process can
finish what another began, and nobody can finish what another browser began.

Promises: talks to nobody but the issuer in the settings and the places that its own document
names; a proof counts when its signature is by a key of the issuer with an algorithm that needs a
private key, and issuer, audience, time and nonce are as they have to be.

Loaded by `sign_in_loading` when it is configured: what it stands on takes a while to import.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, KeySetSerialization
from joserfc.jws import JWSRegistry

from gateway.callers.issuer_documents import Issuer, Json, is_safe, out_of_reach
from gateway.callers.people import GroupRoles, Person, name_of
from gateway.clock import MICROS, Clock
from gateway.errors import ConfigurationError, NotAuthenticated
from gateway.settings import OidcSettings

log = logging.getLogger(__name__)

LEEWAY_SECONDS = 60
"""Clocks may differ by so much."""
_KEPT_SECONDS = 3600.0
_KEYS_AGAIN_SECONDS = 30.0
"""A key that is not known is looked for again, but not more often."""
_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
_WELL_KNOWN = "/.well-known/openid-configuration"
_PLACES = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_CODE_LENGTH = 4096


@dataclass
class _Known:
    """What the issuer told, and when (monotonic seconds)."""

    document: Json
    at: float
    keys: KeySet | None = None
    keys_at: float = 0.0


class IdentityProvider:
    """One issuer. Raises ConfigurationError for settings that cannot work."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        if not is_safe(settings.issuer):
            raise ConfigurationError(
                [
                    f"JOBGATE_OIDC_ISSUER: {settings.issuer!r} is no address that begins with https://"
                ]
            )
        self._settings, self._clock = settings, clock
        self._roles = GroupRoles.parse(settings.roles)
        self._issuer = Issuer()
        self._kept: _Known | None = None

    async def way_there(self, back: str, secret: str) -> str:
        """Where a browser that keeps `secret` is sent; it returns to `back`. Raises Unavailable."""
        document = (await self._known()).document
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": back,
            "scope": self._settings.scope,
            "state": _made(secret, "state"),
            "nonce": _made(secret, "nonce"),
            "code_challenge": create_s256_code_challenge(_made(secret, "verifier")),
            "code_challenge_method": "S256",
        }
        return str(add_params_to_uri(document["authorization_endpoint"], list(asked.items())))

    async def person(self, told: Mapping[str, str], back: str, secret: str) -> Person:
        """Who has come back, by what the address says and the secret that the browser kept.

        Raises NotAuthenticated, Forbidden for somebody without a role here, and Unavailable.
        """
        state = _made(secret, "state").encode()
        if not secret or not hmac.compare_digest(told.get("state", "").encode(), state):
            raise NotAuthenticated("this sign-in was begun elsewhere, or too long ago; try again")
        known = await self._known()
        self._check_issuer(told, known.document)
        code = told.get("code", "")
        if "error" in told or not 0 < len(code) <= _CODE_LENGTH:
            raise NotAuthenticated("the sign-in service did not let you in")
        tokens = await self._exchange(known.document, code, back, secret)
        claims = await self._claims(known, tokens, _made(secret, "nonce"))
        return Person(name_of(claims), self._roles.role_in(claims.get(self._settings.groups_claim)))

    def _check_issuer(self, told: Mapping[str, str], document: Json) -> None:
        """Who answers says who it is, if it can (RFC 9207)."""
        says = document.get("authorization_response_iss_parameter_supported") is True
        if told.get("iss", None if says else self._settings.issuer) != self._settings.issuer:
            raise NotAuthenticated("another sign-in service has answered")

    async def _exchange(self, document: Json, code: str, back: str, secret: str) -> Json:
        """The tokens for a code."""
        settings = self._settings
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "client_id": settings.client_id,
            "code_verifier": _made(secret, "verifier"),
        }
        headers = {}
        ways = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if settings.client_secret and "client_secret_basic" in ways:
            headers["Authorization"] = _basic(settings.client_id, settings.client_secret)
        elif settings.client_secret:
            fields["client_secret"] = settings.client_secret
        status, tokens = await self._issuer.post(document["token_endpoint"], fields, headers)
        if status != 200:
            raise _refused(f"it answered {status} to its own code")
        return tokens

    async def _claims(self, known: _Known, tokens: Json, nonce: str) -> Mapping[str, object]:
        """What the proof says, if it is one."""
        proof, settings = tokens.get("id_token"), self._settings
        if not isinstance(proof, str):
            raise _refused("it sent no proof")
        needed: dict[str, Any] = {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        given: dict[str, Any] = {
            "nonce": nonce,
            "client_id": settings.client_id,
            "access_token": tokens.get("access_token"),
        }
        try:
            try:
                read = _read(known, await self._keys(known), proof)
            except InvalidKeyIdError:
                read = _read(known, await self._keys(known, anew=True), proof)
            claims = CodeIDToken(read.claims, read.header, needed, given)
            claims.validate(now=self._clock.now() // MICROS, leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _refused(f"its proof is not good ({type(error).__name__})") from None
        return dict(claims)

    async def _known(self) -> _Known:
        """The issuer's own document, an hour old at most."""
        now = time.monotonic()
        if self._kept is not None and now - self._kept.at < _KEPT_SECONDS:
            return self._kept
        issuer = self._settings.issuer
        document = await self._issuer.fetch(issuer.rstrip("/") + _WELL_KNOWN)
        if document.get("issuer") != issuer:
            raise out_of_reach("its document is of another issuer")
        if not all(is_safe(document.get(place)) for place in _PLACES):
            raise out_of_reach("its document names a place that is not https://")
        self._kept = _Known(document, now)
        return self._kept

    async def _keys(self, known: _Known, *, anew: bool = False) -> KeySet:
        age = time.monotonic() - known.keys_at
        if known.keys is None or (anew and age > _KEYS_AGAIN_SECONDS):
            told = await self._issuer.fetch(known.document["jwks_uri"])
            known.keys = KeySet.import_key_set(cast("KeySetSerialization", told))
            known.keys_at = time.monotonic()
        return known.keys


def _read(known: _Known, keys: KeySet, proof: str) -> jwt.Token:
    """A proof whose signature is good. Raises JoseError or ValueError."""
    told = known.document.get("id_token_signing_alg_values_supported")
    theirs = set(told) if isinstance(told, list) else {"RS256"}
    allowed = JWSRegistry(algorithms=sorted(_ALGORITHMS & theirs), strict_check_header=False)
    return jwt.decode(proof, keys, registry=allowed)


def _made(secret: str, what: str) -> str:
    """Something that only who has the secret can make; 43 characters, as PKCE wants them."""
    digest = hmac.new(secret.encode(), what.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _basic(client: str, secret: str) -> str:
    """The header of a client that proves itself (RFC 6749, 2.3.1)."""
    told = f"{quote(client, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(told.encode()).decode()


def _refused(why: str) -> NotAuthenticated:
    log.warning("a sign-in was refused: the sign-in service cannot be believed: %s", why)
    return NotAuthenticated(f"the sign-in service cannot be believed: {why}")
