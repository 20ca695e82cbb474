"""The parameters of a job as routes.yaml writes them; each section has the same shape.

    default   set when the caller states none
    min, max  the range that callers may use, or `allow`: what they may choose from
    pin       this value and no other, whatever the caller states; it takes the place of the rest
    outside   what happens to another value: clamp it to what is allowed, or refuse the request

In place of a section some parameters take one word: `drop` leaves out what a caller states, and
`refuse` refuses the request. What is changed is told in a header and written into the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from gateway.jobs.section import Effort, Outside, Section, Temperature, Tokens

Closed = Literal["drop", "refuse"]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Choices = Annotated[int, Field(ge=1, le=128)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
ToolKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
FormatKind = Literal["text", "json_object", "json_schema"]


class TemperatureSection(Section):
    """How warm answers may be."""

    default: Temperature | None = Field(
        default=None, description="when the caller states none; left out: the model's own"
    )
    min: Temperature = 0.0
    max: Temperature = 2.0
    pin: Temperature | None = Field(
        default=None, description="this temperature alone, whatever the caller states"
    )
    outside: Outside = Field(
        default="clamp",
        description="what happens outside min and max: clamp to the nearest, or refuse",
    )


class OutputSection(Section):
    """How long one answer may be, in tokens."""

    max: Tokens | None = Field(default=None, description="the most; needed unless there is a pin")
    default: Tokens | None = Field(
        default=None, description="when the caller states none; default: max"
    )
    pin: Tokens | None = Field(
        default=None, description="this limit alone, whatever the caller states"
    )
    outside: Outside = Field(
        default="clamp", description="what happens above max: clamp to it, or refuse"
    )


class TopPSection(Section):
    """The share of likely words that answers are chosen from."""

    default: TopP | None = Field(default=None, description="when the caller states none")
    min: TopP = 0.0
    max: TopP = 1.0
    pin: TopP | None = Field(default=None, description="this value alone")
    outside: Outside = "clamp"


class ChoicesSection(Section):
    """How many answers one request may have; in chat alone."""

    default: Choices | None = Field(default=None, description="when the caller states none")
    max: Choices = 128
    pin: Choices | None = Field(default=None, description="this number alone")
    outside: Outside = "clamp"


class EffortSection(Section):
    """How much a model may be asked to reason."""

    default: Effort | None = Field(
        default=None, description="sent to models that take it when the caller states none"
    )
    min: Effort = "none"
    max: Effort = "max"
    pin: Effort | None = Field(default=None, description="this effort alone")
    outside: Outside = "clamp"


class SeedSection(Section):
    """The seed of an answer that is to be the same again; in chat alone."""

    default: Seed | None = Field(default=None, description="when the caller states none")
    pin: Seed | None = Field(default=None, description="this seed alone")
    outside: Outside = Field(
        default="clamp", description="what happens to another seed than a pinned one"
    )


class ToolsSection(Section):
    """The kinds of tools that requests may bring."""

    allow: list[ToolKind] = Field(
        min_length=1,
        max_length=32,
        description="such as function, web_search, mcp; web_search stands for all its versions",
    )
    outside: Outside = Field(
        default="clamp", description="clamp: tools of other kinds are left out; or refuse"
    )


class SchemaFormatSection(Section):
    """An answer that is valid against a JSON schema, as chat completions say it."""

    type: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(description="name, schema, and strict")


def _form(value: object) -> str:
    return "mapping" if isinstance(value, Mapping | Section) else "word"


AnswerFormat = Annotated[
    Annotated[Literal["text", "json_object"], Tag("word")]
    | Annotated[SchemaFormatSection, Tag("mapping")],
    Discriminator(_form),
]


class FormatSection(Section):
    """The form of answers."""

    default: AnswerFormat | None = Field(default=None, description="when the caller states none")
    pin: AnswerFormat | None = Field(default=None, description="this form alone")
    allow: list[FormatKind] | None = Field(
        default=None, min_length=1, description="what callers may choose from; default: all"
    )
    outside: Outside = Field(
        default="clamp", description="clamp: another form becomes the default, or text; or refuse"
    )


ReasoningEffort = Annotated[
    Annotated[Effort, Tag("word")] | Annotated[EffortSection, Tag("mapping")],
    Discriminator(_form),
]
TopPolicy = Annotated[
    Annotated[Closed, Tag("word")] | Annotated[TopPSection, Tag("mapping")],
    Discriminator(_form),
]
SeedPolicy = Annotated[
    Annotated[Closed, Tag("word")] | Annotated[SeedSection, Tag("mapping")],
    Discriminator(_form),
]
ToolPolicy = Annotated[
    Annotated[Closed, Tag("word")] | Annotated[ToolsSection, Tag("mapping")],
    Discriminator(_form),
]
AnswerPolicy = Annotated[
    Annotated[Closed, Tag("word")] | Annotated[FormatSection, Tag("mapping")],
    Discriminator(_form),
]
