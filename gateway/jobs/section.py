"""What every section of routes.yaml is made of: a strict mapping, and values that several share.

It knows no section; they are in `schema` and, for the parameters of a job, in `policy_schema`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Outside = Literal["clamp", "refuse"]


class Section(BaseModel):
    """Unknown fields are refused, and nothing is converted: "5" is not 5."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
