"""Counting tokens ourselves, when the provider does not tell, and bounding them beforehand.

A tokenizer never makes more tokens than its input has bytes, so the length of the request in
bytes is an upper bound that costs nothing. The exact count is made only when the bound decides
something, and off the event loop when the text is long: tiktoken releases the interpreter lock.

The encodings come from a package, never from the network. Claude's and Gemini's tokenizers are
not published: their counts are estimates with o200k_base, and an entry that uses one says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import tiktoken

from gateway.errors import ConfigurationError

DEFAULT_ENCODING = "o200k_base"
_OLDER_ENCODINGS = (
    ("gpt-4o", "o200k_base"),
    ("gpt-4.", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
    ("text-embedding", "cl100k_base"),
)
"""Models, by how their names begin, first match; all others use the default."""

IMAGE_TOKENS_AT_MOST = 12_000
"""Tokens of one image: as many as the large providers document for one image at the most
(OpenAI 10,000 patches times 1.2 in original detail, Anthropic about 4,800, Gemini 258 a tile)."""
_DEARER_IMAGES = (("gpt-4o-mini", 48_200),)
"""Models, by how their names begin, that bill more for an image: 2,833 and 5,667 for each of up
to 8 tiles (OpenAI, images and vision). These tokens are for the bill and not in the context."""
OVERHEAD_PER_REQUEST = 64
"""Tokens that a provider's chat template adds to a request, generously."""


class TokenCounter:
    """Counts text; holds the encodings, which are read from the package on first use."""

    def __init__(self) -> None:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(_encodings_folder())

    def load(self, models: Iterable[str]) -> None:
        """Read the encodings of these models now.

        It takes a third of a second that no other thread gets either, so it is no work for a
        process that has begun to serve.
        """
        for name in sorted({encoding_for(model) for model in models}):
            _encoding(name)

    def count(self, text: str, model: str) -> int:
        """Tokens of a text under the model's encoding; special tokens count as plain text."""
        return len(_encoding(encoding_for(model)).encode_ordinary(text))


def encoding_for(model: str) -> str:
    """The name of the encoding that fits a model, by its name without a provider's prefix."""
    short = model.rsplit("/", 1)[-1]
    for prefix, encoding in _OLDER_ENCODINGS:
        if short.startswith(prefix):
            return encoding
    return DEFAULT_ENCODING


def image_tokens(images: int, model: str) -> int:
    """Tokens that so many images cannot exceed on a model's bill."""
    if not images:
        return 0
    short = model.rsplit("/", 1)[-1]
    dearer = (tokens for prefix, tokens in _DEARER_IMAGES if short.startswith(prefix))
    return images * next(dearer, IMAGE_TOKENS_AT_MOST)


def cheap_bound(body_bytes: int, images: int, model: str) -> int:
    """Input tokens that a request of so many bytes and images cannot exceed."""
    return body_bytes + image_tokens(images, model) + OVERHEAD_PER_REQUEST


@lru_cache(maxsize=4)
def _encoding(name: str) -> tiktoken.Encoding:
    return tiktoken.get_encoding(name)


def _encodings_folder() -> Path:
    """Where the litellm package keeps tiktoken's files; found without importing it."""
    spec = find_spec("litellm")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "litellm_core_utils" / "tokenizers"
        if folder.is_dir():
            return folder
    raise ConfigurationError(
        ["the token encodings are missing: install the litellm package, which carries them"]
    )
