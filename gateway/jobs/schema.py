"""routes.yaml as it is written: the shape of every section, and nothing about their meaning.

These models check one section at a time: which fields there are, their types and ranges; the
file as a whole is in `rules`. What needs two sections, the price book or the environment (does
this provider exist? can a private job reach a cloud?) is asked in `resolving`. The JSON Schema
that editors use is made from here, so every field says in its description what a person needs to
know to fill it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from gateway.jobs.files import FILE
from gateway.jobs.including import PROMPT_MAX
from gateway.jobs.policy_schema import (
    AnswerPolicy,
    ChoicesSection,
    OutputSection,
    ReasoningEffort,
    SeedPolicy,
    TemperatureSection,
    ToolPolicy,
    TopPolicy,
)
from gateway.jobs.section import Effort, Section, Temperature, Tokens
from gateway.prices.stated import StatedPrice

NAME = r"^[a-z][a-z0-9_-]{0,31}$"
JOB = r"^[a-z0-9][a-z0-9._-]{0,63}$"
ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"
TARGET = r"^[a-z][a-z0-9_-]{0,31}/[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,127}$"
VARIABLE = r"^[A-Z_][A-Z0-9_]{0,127}$"
HEADER_NAME = r"^[A-Za-z0-9-]{1,64}$"
HEADER_VALUE = r"^[ -~]{0,1024}$"
ROLLOVER = r"^(100|[1-9]?[0-9])%$|^[0-9]{1,18}(\.[0-9]{1,9})? USD$|^[0-9]{1,18} (tokens|requests)$"
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
LIMIT = r"^[0-9]{1,18}(\.[0-9]{1,9})? USD$|^[0-9]{1,18} (tokens|requests)$"

IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        NAME: "must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter",
        JOB: "must be 1 to 64 of a-z, 0-9, '.', _ and -, beginning with a letter or digit",
        ALIAS: "must be 1 to 128 letters, digits and . _ : / -, beginning with a letter or digit",
        TARGET: 'must be "provider/model", such as openai/gpt-5.4',
        VARIABLE: "must be the name of an environment variable, such as OPENAI_API_KEY",
        HEADER_NAME: "must be 1 to 64 letters, digits and -",
        HEADER_VALUE: "must be at most 1024 printable ASCII characters",
        LIMIT: 'must be like "2000 USD", "5000000 tokens" or "600 requests"',
        FILE: "must be a path inside the folder of routes.yaml, such as teams/brand.yaml",
        CLOCK: "must be a time of day in quotes, such as '07:30'",
        ROLLOVER: 'must be like "50%", or an amount in the unit of the limit, such as "100 USD"',
    }
)
"""What each pattern means, for whoever wrote something else."""

_NUMBER_LENGTH = 32

Name = Annotated[str, Field(pattern=NAME)]
JobName = Annotated[str, Field(pattern=JOB)]
TargetName = Annotated[str, Field(pattern=TARGET)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
FileName = Annotated[str, Field(pattern=FILE, max_length=200)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Thresholds = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(max_length=10)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class OrganisationSection(Section):
    """Whose gateway this is, and how it counts time."""

    name: Text
    time_zone: str = Field(
        default="UTC", description="IANA name, such as Europe/Berlin; periods follow it"
    )
    week_starts: Literal[
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
    ] = "monday"
    fiscal_year_starts: int = Field(default=1, ge=1, le=12, description="month, 1 is January")


class TimeoutsSection(Section):
    """Seconds to wait. What is not stated keeps its default."""

    connect: Seconds | None = Field(default=None, description="for a connection; default 5")
    first_byte: Seconds | None = Field(
        default=None, description="for the first byte of the answer; 60"
    )
    idle: Seconds | None = Field(default=None, description="between two pieces of an answer; 60")
    total: Seconds | None = Field(default=None, description="for one attempt as a whole; 600")


class ProviderSection(Section):
    """A place where models run."""

    wire: Literal["openai", "anthropic", "gemini", "litellm"] = Field(
        description="the format it speaks; litellm is for everything that is not the other three"
    )
    flavour: (
        Literal[
            "openai",
            "azure",
            "mistral",
            "ollama",
            "llamacpp",
            "vllm",
            "groq",
            "deepseek",
            "xai",
            "openrouter",
            "gemini",
            "generic",
        ]
        | None
    ) = Field(
        default=None, description="whose habits an OpenAI-compatible provider has; default generic"
    )
    base_url: str | None = Field(
        default=None,
        description="what stands before /chat/completions (openai), /v1/messages (anthropic) or "
        "/models/... (gemini). The environment variable JOBGATE_PROVIDER_<NAME>_BASE_URL, with "
        "the name in capitals and _ for -, takes its place when it is set",
    )
    api_key_env: str | None = Field(
        default=None,
        pattern=VARIABLE,
        description="the environment variable that holds the API key",
    )
    api_key_file: str | None = Field(
        default=None, min_length=1, max_length=4096, description="or the file that holds it"
    )
    residency: Literal["cloud", "on_prem"] = Field(
        default="cloud", description="on_prem: it runs in the house, and private jobs may use it"
    )
    price_provider: Name | None = Field(
        default=None, description="its name in the price book, where that differs from its own"
    )
    litellm_provider: Name | None = Field(
        default=None, description="for wire litellm: LiteLLM's name for it, such as bedrock"
    )
    headers: dict[
        Annotated[str, Field(pattern=HEADER_NAME)], Annotated[str, Field(pattern=HEADER_VALUE)]
    ] = Field(default_factory=dict, description="sent with every request; no credentials")
    timeouts: TimeoutsSection = TimeoutsSection()


class CapabilitiesSection(Section):
    """What a model takes, where the gateway does not know it or knows it wrongly."""

    temperature_min: Temperature | None = None
    temperature_max: Temperature | None = None
    sampling: Literal["always", "never", "effort_unset_or_none", "effort_none"] | None = Field(
        default=None, description="when temperature, top_p and the penalties are taken"
    )
    top_p_with_temperature: bool | None = None
    output_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    choices_max: int | None = Field(default=None, ge=1, le=128, description="the largest n")
    refused: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]] | None = Field(
        default=None, description="request fields to leave out"
    )
    stream_options: bool | None = None
    efforts: list[Effort] | None = Field(
        default=None, description="values of reasoning_effort it takes"
    )


def _numbers_are_written_out(price: object) -> object:
    """Refuse numbers nobody writes by hand before anything computes with them."""
    if isinstance(price, Mapping):
        for part in price.values():
            _numbers_are_written_out(part)
    elif isinstance(price, list):
        for part in price:
            _numbers_are_written_out(part)
    elif price != "free" and not isinstance(price, bool) and price is not None:
        text = str(price).lower()
        if len(text) > _NUMBER_LENGTH or "e" in text.replace("e-", ""):
            raise ValueError("numbers are written out, in at most 32 characters")
    return price


def _price_form(price: object) -> str:
    return "several" if isinstance(price, list) else "one"


Prices = Annotated[
    Annotated[StatedPrice, Tag("one")]
    | Annotated[list[StatedPrice], Field(min_length=1, max_length=64), Tag("several")],
    Discriminator(_price_form),
    BeforeValidator(_numbers_are_written_out),
]
"""One price, or several that begin on different days."""


class ModelSection(Section):
    """What is stated about one model at one provider, over what the price book has."""

    price: Prices | None = Field(
        default=None,
        description="free, or USD per million tokens: {input: 2.50, output: 10}; or a list of "
        "prices, each with the day it begins: {from: 2026-11-01, input: 2, output: 8}",
    )
    context_window: Tokens | None = Field(
        default=None, description="tokens, input and output together"
    )
    output_limit: Tokens | None = Field(default=None, description="output tokens of one answer")
    capabilities: CapabilitiesSection = CapabilitiesSection()


class PromptSection(Section):
    """A prompt in a file of its own, which is versioned with this one."""

    file: FileName = Field(description="inside the folder of routes.yaml, such as prompts/brand.md")


def _system_form(system: object) -> str:
    return "file" if isinstance(system, Mapping | PromptSection) else "text"


System = Annotated[
    Annotated[str, Field(min_length=1, max_length=PROMPT_MAX), Tag("text")]
    | Annotated[PromptSection, Tag("file")],
    Discriminator(_system_form),
]


class StickyTagSection(Section):
    """Requests with the same value of a tag stay on the same side."""

    tag: Name


def _sticky_form(sticky: object) -> str:
    return "mapping" if isinstance(sticky, Mapping | StickyTagSection) else "word"


Sticky = Annotated[
    Annotated[Literal["app"], Tag("word")] | Annotated[StickyTagSection, Tag("mapping")],
    Discriminator(_sticky_form),
]


class CanarySection(Section):
    """Other targets that a part of the job's requests is sent to, to see how they do.

    When none of them can answer, the job's own targets do. `jobgate canary JOB` compares both.
    """

    targets: list[TargetName] = Field(
        min_length=1, max_length=8, description="the preferred one, then its fallbacks"
    )
    percent: Percent = Field(
        description="how many of a hundred apps, or values of the tag; who is among them stays "
        "among them when it grows. 0: nobody"
    )
    sticky: Sticky = Field(
        default="app",
        description="app, or {tag: run}: what stays on one side. A request without the tag goes "
        "to the job's own targets",
    )


class JobSection(Section):
    """A named kind of work: what apps ask for instead of a model."""

    purpose: str = Field(min_length=1, max_length=500, description="one sentence: what it is for")
    owner: Text = Field(description="who answers for it: a team or an address")
    targets: list[TargetName] = Field(
        min_length=1, max_length=8, description="provider/model: the preferred one, then fallbacks"
    )
    canary: CanarySection | None = Field(
        default=None, description="other targets for a part of the requests"
    )
    temperature: TemperatureSection = TemperatureSection()
    output_tokens: OutputSection
    top_p: TopPolicy | None = Field(
        default=None, description="a policy like that of temperature; or drop, or refuse"
    )
    n: ChoicesSection | None = None
    seed: SeedPolicy | None = Field(default=None, description="a policy; or drop, or refuse")
    reasoning_effort: ReasoningEffort | None = Field(
        default=None,
        description="sent to models that take it when the caller states none; or a policy",
    )
    tools: ToolPolicy | None = Field(
        default=None, description="what tools requests may bring; or drop, or refuse, for none"
    )
    response_format: AnswerPolicy | None = Field(
        default=None, description="the form of answers; or drop, or refuse, for text alone"
    )
    system: System | None = Field(
        default=None,
        description="put before the caller's messages; {file: prompts/brand.md} reads it from a "
        "file beside routes.yaml",
    )
    tags: list[Name] = Field(
        default_factory=list, max_length=16, description="tags that requests may carry"
    )
    residency: Literal["any", "on_prem"] = Field(
        default="any",
        description="on_prem: it never leaves the house, and can have no cloud target",
    )
    on_disconnect: Literal["drain", "cancel"] = Field(
        default="drain",
        description="when the caller leaves: read on for the exact usage, or stop at once",
    )
    retries: int = Field(default=1, ge=0, le=5, description="further attempts on each target")
    timeouts: TimeoutsSection = TimeoutsSection()
    wait_for_room: float = Field(
        default=10.0,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="seconds to wait for money in use",
    )
    when_short: Literal["refuse", "shorten", "downgrade"] = Field(
        default="refuse",
        description="when a budget has no room: refuse; shorten the answer until it fits; or "
        "downgrade to a cheaper target of the chain. The answer says so in a header",
    )
    shorten_to_at_least: Tokens | None = Field(
        default=None, description="with shorten: output tokens that an answer keeps at least"
    )
    max_input_bytes: int = Field(
        default=10_000_000, ge=1024, le=100_000_000, description="the largest request body"
    )


class ScopeSection(Section):
    """One team, app, key, job or tag; a tag without a value means each of its values."""

    team: Text | None = None
    app: Text | None = None
    key: Text | None = None
    job: JobName | None = None
    tag: Name | None = None
    value: Text | None = Field(default=None, description="of the tag")


ScopeWord = Literal["organisation", "each team", "each app", "each key", "each job"]


def _scope_form(scope: object) -> str:
    return "mapping" if isinstance(scope, Mapping | ScopeSection) else "word"


Scope = Annotated[
    Annotated[ScopeWord, Tag("word")] | Annotated[ScopeSection, Tag("mapping")],
    Discriminator(_scope_form),
]


class BudgetAlertsSection(Section):
    """What is told of one budget, where that differs from `alerts`."""

    at: Thresholds | None = Field(default=None, description="per cent of the limit; [] for none")
    projected: bool | None = Field(default=None, description="tell when it will be exceeded")


class BudgetSection(Section):
    """A limit on what is spent."""

    scope: Scope = Field(description='whose spending: organisation, "each app", {team: brand}, ...')
    limit: str = Field(pattern=LIMIT, description='"2000 USD", "5000000 tokens", "600 requests"')
    period: Literal[
        "minute", "hour", "day", "week", "month", "quarter", "year", "fiscal_year", "forever"
    ]
    enforce: Literal["hard", "warn"] = Field(
        default="hard", description="hard: refuse what does not fit; warn: let it pass and say so"
    )
    rollover: bool = Field(
        default=False, description="what a period leaves is added to the limit of the next one"
    )
    rollover_max: str | None = Field(
        default=None,
        pattern=ROLLOVER,
        description='the most that is carried over: "50%" of the limit, or "100 USD"; default all',
    )
    contact: Text | None = Field(default=None, description="whom to ask for more")
    alerts: BudgetAlertsSection = BudgetAlertsSection()


class TeamSection(Section):
    """A team that pays."""

    contact: Text | None = Field(default=None, description="whom to ask about its budgets")
