"""/docs and /openapi.json: what the API is, readable without a network and without scripts.

The doors under /v1 are not FastAPI's, so they are described here, once, in OpenAPI's words; the
page is made from the same description.
"""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gateway.callers.roles import PERMISSIONS, ROLES, Permission
from gateway.doors.policy import POLICY

_KEY = {"type": "http", "scheme": "bearer", "description": "A key such as jg_..."}
_TEXT = {"type": "string"}
_ERRORS = {
    "4XX": {"description": "An error in OpenAI's shape"},
    "5XX": {"description": "An error in OpenAI's shape"},
}
_NOT_OURS = ("HTTPValidationError", "ValidationError")
"""Shapes of errors that the framework describes and no door answers with."""
_MESSAGES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["role"],
        "properties": {"role": {"type": "string", "minLength": 1}},
        "additionalProperties": True,
    },
}
_INPUT = {"type": ["string", "array"]}
_HEADERS = {
    "X-Jobgate-Job": "The job, whatever `model` says.",
    "X-Jobgate-Tags": "Tags that the job accepts, such as stage=draft, run=nightly-7.",
    "Idempotency-Key": "1 to 255 characters of your choice: a repeat with the same key within a day"
    " gets the first answer (x-jobgate-replayed: true), or 409 with what became of the first, and"
    " is not charged.",
}
_CHAT = {
    "summary": "Answer a chat, plain or streamed",
    "description": "OpenAI's chat completions. `model` is a job or an alias; every other field is"
    " passed on as the chosen provider understands it, and x-jobgate-changed tells what was"
    " changed. Refusals: 402 no budget, 403 not this job, 404 no such job, 413 too large,"
    " 429 try again after Retry-After, 502 to 504 the provider.",
    "tags": ["chat"],
    "parameters": [
        {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": text}
        for name, text in _HEADERS.items()
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "messages"],
                    "properties": {
                        "model": {"type": "string", "example": "high-volume"},
                        "messages": _MESSAGES,
                        "stream": {"type": "boolean"},
                        "max_tokens": {"type": "integer", "minimum": 1},
                        "temperature": {"type": "number"},
                    },
                    "additionalProperties": True,
                }
            }
        },
    },
    "responses": {
        "200": {"description": "A chat completion, or its chunks as server-sent events"},
    },
}


def _passed(summary: str, text: str, field: str, form: dict[str, Any]) -> dict[str, Any]:
    """The description of a form that is passed through."""
    schema = {
        "type": "object",
        "required": ["model", field],
        "properties": {"model": {"type": "string"}, field: form},
        "additionalProperties": True,
    }
    return {
        **_CHAT,
        "summary": summary,
        "description": text,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
    }


_LIST = {
    "summary": "The jobs and aliases that this key may use",
    "tags": ["models"],
    "responses": {"200": {"description": "OpenAI's list of models"}},
}
_ONE = {
    "summary": "One job or alias",
    "tags": ["models"],
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": _TEXT}],
    "responses": {"200": {"description": "OpenAI's model"}, "404": {"description": "No such job"}},
}
_PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"post": _CHAT},
    "/v1/embeddings": {
        "post": _passed(
            "Embed texts",
            "OpenAI's embeddings, passed through to the job's targets that have them.",
            "input",
            _INPUT,
        )
    },
    "/v1/responses": {
        "post": _passed(
            "Answer in OpenAI's Responses format, plain or streamed",
            "Passed through to the job's targets that speak the format; 400 names the jobs that"
            " do. Background responses are refused, because their usage could not be booked.",
            "input",
            _INPUT,
        )
    },
    "/v1/messages": {
        "post": _passed(
            "Answer in Anthropic's Messages format, plain or streamed",
            "Passed through to the job's Anthropic targets. The key may stand in x-api-key;"
            " errors have Anthropic's shape.",
            "messages",
            _MESSAGES,
        )
    },
    "/v1/models": {"get": _LIST},
    "/v1/models/{name}": {"get": _ONE},
}

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Jobgate API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;
margin:2rem auto;padding:0 1rem}}code{{font:0.95em ui-monospace,monospace}}section{{border-top:1px
solid #8884;padding:.6rem 0}}h2{{font-size:1rem;margin:.2rem 0}}dt{{font-weight:600}}
dd{{margin:0 0 .4rem 1rem}}</style></head><body><h1>Jobgate API</h1><p>Don't pick a model. Pick a
job. Send a key as <code>Authorization: Bearer jg_...</code>. The same as data:
<a href="/openapi.json">/openapi.json</a>.</p>{sections}</body></html>"""


def document(app: FastAPI) -> None:
    """Describe the whole API and put the page at /docs."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            schema["paths"] = {
                path: {method: _told(method, path, told) for method, told in operations.items()}
                for path, operations in (_PATHS | schema["paths"]).items()
            }
            parts = schema.setdefault("components", {})
            parts["securitySchemes"] = {"key": _KEY}
            for name in _NOT_OURS:
                parts.get("schemas", {}).pop(name, None)
            app.openapi_schema = schema
        return app.openapi_schema

    def page(_request: Request) -> Response:
        return HTMLResponse(_PAGE.format(sections="".join(_sections(description()))))

    def data(_request: Request) -> Response:
        return JSONResponse(description())

    app.openapi = description  # type: ignore[method-assign]
    app.router.routes.append(Route("/docs", page, methods=["GET"]))
    app.router.routes.append(Route("/openapi.json", data, methods=["GET"]))


def _told(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """An operation with the key and the permission that it asks for, and errors as they are."""
    told = {**operation, "security": [{"key": []}]}
    needed = POLICY.get((method.upper(), path))
    if path.startswith("/admin/") and isinstance(needed, Permission):
        roles = ", ".join(role for role in ROLES if needed in PERMISSIONS[role])
        told["description"] = f"{told.get('description', '')} For: {roles}.".strip()
    responses = {code: said for code, said in told["responses"].items() if code != "422"}
    return {**told, "responses": {**responses, **_ERRORS}}


def _sections(schema: dict[str, Any]) -> list[str]:
    parts = schema["components"].get("schemas", {})
    return [
        _section(path, method, operation, parts)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]


def _section(path: str, method: str, operation: dict[str, Any], parts: dict[str, Any]) -> str:
    parameters = "".join(
        f"<dt><code>{escape(p['name'])}</code> ({escape(p['in'])})</dt>"
        f"<dd>{escape(p.get('description', ''))}</dd>"
        for p in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    form = body.get("schema", {})
    form = parts.get(form.get("$ref", "").rpartition("/")[2], form)
    fields = ", ".join(form.get("properties", ()))
    more = ", …" if form.get("additionalProperties", True) else ""
    told = f"<p>Body: <code>{escape(fields)}</code>{more}</p>" if fields else ""
    text = operation.get("description") or operation.get("summary", "")
    return (
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(text)}</p>{told}<dl>{parameters}</dl></section>"
    )
