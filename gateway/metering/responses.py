"""Reading what a response of OpenAI's Responses API used, its built-in tools included.

Tools have fees that are in no usage: they are counted by the items of the output, or told in
`tool_usage` by newer answers. A search has a fee, opening a page that was found has none. A
picture is made by another model, whose tokens are told beside the answer's. (OpenAI's API
reference and pricing, late 2026.)
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.metering.figures import Raw, name, number, part
from gateway.metering.reading import openai_responses
from gateway.metering.usage import NOTHING, Extra, Usage

FILE_SEARCH, CONTAINER = "file_search", "code_interpreter"
"""What extras of tools with a fee of their own are of."""
IMAGE_MODEL = "gpt-image-1"
"""Who makes pictures when the answer does not name a model."""


def response_usage(told: Raw) -> Usage | None:
    """The usage of a response, its web searches among the calls with a fee."""
    searched = number(part(part(told, "tool_usage"), "web_search"), "num_requests")
    if searched is None:
        searched = sum(1 for item in _items(told, "web_search_call") if _is_search(item))
    return openai_responses(part(told, "usage"), searched)


def response_extras(told: Raw) -> tuple[Extra, ...]:
    """What a response used at prices of its own: file searches, containers, and pictures."""
    looked_up = sum(1 for _ in _items(told, "file_search_call"))
    containers = {name(item, "container_id") for item in _items(told, "code_interpreter_call")}
    found = [
        Extra(of=FILE_SEARCH, usage=Usage(requests=looked_up)),
        Extra(of=CONTAINER, usage=Usage(requests=len(containers))),
        Extra(of=_image_model(told), usage=_pictures(part(part(told, "tool_usage"), "image_gen"))),
    ]
    return tuple(extra for extra in found if extra.usage != NOTHING)


def _items(told: Raw, kind: str) -> Iterator[Raw]:
    output = told.get("output")
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict) and item.get("type") == kind:
            yield item


def _is_search(item: Raw) -> bool:
    """Whether a web search call searched; those that open a page, or find in it, are free."""
    return name(part(item, "action"), "type") in ("", "search")


def _image_model(told: Raw) -> str:
    tools = told.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "image_generation":
            return name(tool, "model") or IMAGE_MODEL
    return IMAGE_MODEL


def _pictures(raw: Raw) -> Usage:
    """Tokens of pictures that were made; the text of their prompts is plain input."""
    prompt, made = number(raw, "input_tokens") or 0, number(raw, "output_tokens") or 0
    seen = min(number(part(raw, "input_tokens_details"), "image_tokens") or 0, prompt)
    written = min(number(part(raw, "output_tokens_details"), "text_tokens") or 0, made)
    return Usage(input=prompt - seen, image_input=seen, output=written, image_output=made - written)
