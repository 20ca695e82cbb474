"""A sign-in service of the tests' own, as a process of its own on loopback.

    python -m tests.oidc --port 9200

Speaks as much OpenID Connect as a gateway needs: discovery, authorise, token, keys. Whoever comes
to it is let in at once, as the person that `PUT /script` named, and it lies as the script says.
It keeps the rules that a good service keeps: a code is good once, for the client, the address and
the PKCE challenge that it was made for.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from typing import Any
from urllib.parse import unquote, urlencode

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "gateway", "a secret: with % and spaces"
BACK = "/sign-in/oidc/back"
LIES = frozenset(
    {
        *("nonce", "no nonce", "audience", "other audiences", "azp", "issuer", "expired"),
        *("not yet", "no expiry", "at_hash", "nobody", "unverified", "no groups", "signature"),
        *("none", "hs256", "key of a stranger", "no proof", "garbage", "html", "500", "slow"),
        *("huge", "redirect", "state", "no state", "error", "iss", "no iss"),
        *("document of another", "http"),
    }
)


class Service:
    """What it is told to be, and what it has promised to whom."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
        self.lie = ""
        self.claims: dict[str, Any] = {"sub": "anna", "groups": []}
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def app(self) -> web.Application:
        made = web.Application()
        made.add_routes(
            [
                web.get("/.well-known/openid-configuration", self.discovery),
                web.get("/authorize", self.authorize),
                web.post("/token", self.token),
                web.get("/keys", self.keys),
                web.put("/script", self.script),
                web.get("/asked", self.told),
            ]
        )
        return made

    async def script(self, request: web.Request) -> web.Response:
        """Be somebody else, lie, or change the key."""
        told = await request.json()
        self.lie, self.claims = told.get("lie", ""), told.get("claims", self.claims)
        assert not self.lie or self.lie in LIES
        if told.get("new_key"):
            name = f"key-{secrets.token_hex(4)}"
            parameters: Any = {"kid": name, "use": "sig", "alg": told["new_key"]}
            is_curve = told["new_key"] == "ES256"
            self.key = (  # type: ignore[assignment]
                ECKey.generate_key("P-256", parameters)
                if is_curve
                else RSAKey.generate_key(2048, parameters)
            )
        return web.json_response({"asked": self.asked})

    async def told(self, _request: web.Request) -> web.Response:
        """Every request so far."""
        return web.json_response(self.asked)

    async def discovery(self, _request: web.Request) -> web.Response:
        """The document of the issuer."""
        self.asked.append("discovery")
        http, other = "http://192.0.2.1/token", "https://other.example"
        return web.json_response(
            {
                "issuer": other if self._lies("document of another") else self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": http if self._lies("http") else f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def keys(self, _request: web.Request) -> web.Response:
        """The public keys."""
        self.asked.append("keys")
        return web.json_response(KeySet([self.key]).as_dict(private=False))

    async def authorize(self, request: web.Request) -> web.Response:
        """Let whoever it is in, and send them back with a code."""
        self.asked.append("authorize")
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        assert asked["redirect_uri"].startswith("http://127.0.0.1:")
        assert asked["redirect_uri"].endswith(BACK)
        assert asked["code_challenge_method"] == "S256"
        assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        if self._lies("state"):
            back["state"] = "x" * 43
        if self._lies("no state"):
            del back["state"]
        if self._lies("iss"):
            back["iss"] = "https://other.example"
        if self._lies("no iss"):
            del back["iss"]
        if self._lies("error"):
            back = {"error": "access_denied", "state": asked["state"], "iss": self.issuer}
            back["error_description"] = "<script>alert(1)</script>"
        return web.Response(
            status=302, headers={"Location": f"{asked['redirect_uri']}?{urlencode(back)}"}
        )

    async def token(self, request: web.Request) -> web.StreamResponse:
        """A proof for a code."""
        self.asked.append("token")
        asked = {name: str(value) for name, value in (await request.post()).items()}
        given = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        client, _, secret = given.partition(":")
        promised = self.codes.pop(asked["code"], None)
        verifier = hashlib.sha256(asked["code_verifier"].encode()).digest()
        challenge = _packed(verifier).decode()
        good = (
            promised is not None
            and (unquote(client), unquote(secret)) == (CLIENT, SECRET)
            and asked["redirect_uri"] == promised["redirect_uri"]
            and challenge == promised["code_challenge"]
        )
        if not good or promised is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if self._lies("slow"):
            await asyncio.sleep(60)
        if self._lies("500"):
            return web.json_response({"error": "server_error"}, status=500)
        if self._lies("html"):
            return web.Response(text="<html>maintenance</html>", content_type="text/html")
        if self._lies("huge"):
            return web.json_response({"id_token": "x" * 2**20})
        if self._lies("redirect"):
            return web.Response(status=307, headers={"Location": f"{self.issuer}/keys"})
        tokens = {"access_token": "at-" + "x" * 20, "token_type": "Bearer", "expires_in": 300}
        if not self._lies("no proof"):
            tokens["id_token"] = self._proof(promised["nonce"])
        return web.json_response(tokens)

    def _lies(self, *about: str) -> bool:
        return self.lie in about

    def _proof(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.claims,
        }
        claims |= {
            "nonce": {"nonce": "n" * 43},
            "audience": {"aud": "another"},
            "other audiences": {"aud": ["another", "third"], "azp": CLIENT},
            "azp": {"aud": [CLIENT, "another"], "azp": "another"},
            "issuer": {"iss": "https://other.example"},
            "expired": {"iat": now - 4000, "exp": now - 3600},
            "not yet": {"nbf": now + 3600},
            "at_hash": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
            "nobody": {"sub": ""},
            "unverified": {"email": "admin@example.com", "email_verified": False},
        }.get(self.lie, {})
        for lie, name in (("no nonce", "nonce"), ("no expiry", "exp"), ("no groups", "groups")):
            if self._lies(lie):
                claims.pop(name, None)
        return self._signed(claims)

    def _signed(self, claims: dict[str, Any]) -> str:
        kid, algorithm = str(self.key.kid), str(self.key.alg)
        head: dict[str, Any] = {"alg": algorithm, "kid": kid}
        if self._lies("garbage"):
            return "not.a.proof"
        if self._lies("none"):
            parts = [{"alg": "none"}, claims]
            return b".".join([*(_packed(json.dumps(p).encode()) for p in parts), b""]).decode()
        if self._lies("hs256"):  # the public key, which everybody has, as if it were a secret
            parts = [{"alg": "HS256", "kid": kid}, claims]
            signed = b".".join(_packed(json.dumps(part).encode()) for part in parts)
            mac = hmac.digest(self.key.as_pem(private=False), signed, "sha256")
            return (signed + b"." + _packed(mac)).decode()
        key: Any = self.key
        if self._lies("signature", "key of a stranger"):
            key = RSAKey.generate_key(2048, {"kid": kid})
            head = {"alg": "RS256", "kid": "stranger" if self._lies("key of a stranger") else kid}
        return jwt.encode(head, claims, key, algorithms=["RS256", "ES256"])


def _packed(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _end_with_whoever_began_it() -> None:
    """Also when they are killed: then the other end of our standard input is closed."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.oidc")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--until-input-ends", action="store_true")
    told = parser.parse_args()
    if told.until_input_ends:
        _end_with_whoever_began_it()
    web.run_app(Service(told.port).app(), host="127.0.0.1", port=told.port, print=None)
