"""When and how LiteLLM gets into the process: late, quietly, and without asking the network.

Importing it costs seconds and 180 MB, so it is imported when the first provider needs it, at
start and never while requests are served. It reads its environment while it is imported: without
these variables it fetches price lists, reads a `.env` of whatever directory it is in, and logs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from gateway.jobs.routes import Provider
from gateway.upstreams.protocol import Upstream

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
        "LITELLM_LOCAL_BLOG_POSTS": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
    }
)


def load_bridge(provider: Provider) -> Upstream:
    """The bridge for a provider; the first call imports LiteLLM, for seconds."""
    os.environ.update(ENVIRONMENT)
    bridge: Upstream = import_module("gateway.upstreams.litellm_bridge").LiteLLM(provider)
    return bridge
