"""How a price is written in routes.yaml, and the price that it means.

    price: free                                     a decision; nothing is charged
    price: {input: 2.50, output: 10}                USD per million tokens
    price: {discount_percent: 20}                   the price book's, less a fifth
    price: {per_hour: 1.80, tokens_per_second: 900} a machine of one's own
    price: [{input: 3, output: 15}, {from: 2026-11-01, input: 2, output: 10}]

A price can begin on a day (`from`, or `valid_from`): midnight in the organisation's time zone, or
a moment with a zone of its own. Of several, the last that has begun holds (`resolving`).

Amounts are text or numbers. YAML reads 2.50 as a binary float, whose shortest text is the number
that was typed, for up to 15 digits; that text is what is used, so 0.1 means one tenth exactly.
A number with more digits is refused and belongs in quotes.

A machine's price per million tokens is `per_hour / (tokens_per_second * 3600) * 1,000,000`,
to the nearest nano-dollar, where `tokens_per_second` is the throughput of the whole machine,
measured under its usual load. Input has that price too, unless `input_tokens_per_second` says
how much faster the machine reads. This prices a busy machine: its idle hours are nobody's.

What a statement leaves out is filled as `assembling` says, never with zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from gateway.errors import ConfigurationError
from gateway.metering.usage import TOKEN_CLASSES
from gateway.money import TOKENS_PER_PRICE, parse_dollars, round_half_even
from gateway.prices.assembling import Statement, TierStatement, assemble
from gateway.prices.rates import NO_COST, Price, Rates, Schedule, Tier

SOURCE = "routes.yaml"
_EXACT_DIGITS = 15
_SECONDS_PER_HOUR = 3600


def _as_typed(value: object) -> Decimal:
    """The number that a person typed. Raises ValueError when that cannot be known."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number") from None
    if not number.is_finite() or number < 0:
        raise ValueError(f"{value!r} is not a number of zero or more")
    if isinstance(value, float) and len(number.as_tuple().digits) > _EXACT_DIGITS:
        raise ValueError(f"{value!r} has more digits than YAML keeps; put it in quotes")
    return number


def _as_moment(value: object) -> datetime:
    """A day's midnight, or a moment; without a zone when none is written."""
    if isinstance(value, str | date):
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            pass
    raise ValueError(f"{value!r} is not a day such as 2026-11-01")


def _nanos(value: object) -> int:
    return parse_dollars(_as_typed(value))


def _nanos_per_million_calls(value: object) -> int:
    return _nanos(value) * TOKENS_PER_PRICE


_WRITTEN = WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]})
Dollars = Annotated[int, BeforeValidator(_nanos), _WRITTEN]
"""Written in USD, kept in nano-dollars."""
DollarsPerCall = Annotated[int, BeforeValidator(_nanos_per_million_calls), _WRITTEN]
"""Written in USD per call, kept in nano-dollars per million calls."""
Number = Annotated[Decimal, BeforeValidator(_as_typed), _WRITTEN]
Moment = Annotated[
    datetime, BeforeValidator(_as_moment), WithJsonSchema({"type": "string", "minLength": 10})
]


class StatedRates(BaseModel):
    """USD per million tokens of each class; `per_call` in USD per call with a fee."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Dollars | None = None
    cache_read: Dollars | None = None
    cache_read_audio: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    output: Dollars | None = None
    reasoning: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None
    image_input: Dollars | None = None
    image_output: Dollars | None = None
    per_call: DollarsPerCall | None = None

    def stated(self) -> dict[str, int]:
        """The rates that are written: nano-dollars per million tokens (or calls)."""
        rates = {name: getattr(self, name) for name in TOKEN_CLASSES}
        rates["requests"] = self.per_call
        return {name: rate for name, rate in rates.items() if rate is not None}


class StatedTier(StatedRates):
    """Rates for the whole request when its input has more than `above` tokens."""

    above: int = Field(gt=0)
    at_or_above: bool = False


class StatedSchedule(StatedRates):
    """The rates of a service tier, with size tiers."""

    tiers: tuple[StatedTier, ...] = ()

    @model_validator(mode="after")
    def _boundaries_differ(self) -> Self:
        boundaries = [tier.above for tier in self.tiers]
        if len(set(boundaries)) < len(boundaries):
            raise ValueError("two tiers have the same `above`")
        return self

    def statement(self) -> Statement:
        """The same, for `assembling`."""
        tiers = (
            TierStatement(above=t.above, at_or_above=t.at_or_above, rates=t.stated())
            for t in self.tiers
        )
        return Statement(rates=self.stated(), tiers=tuple(tiers))


def _or_free(schema: dict[str, Any]) -> None:
    """Let a JSON schema say that the word `free` will do."""
    written = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"const": "free"}, written]


class StatedPrice(StatedSchedule):
    """A price as somebody wrote it, in exactly one of the four ways above."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_or_free)

    from_: Moment | None = Field(default=None, alias="from", description="when it begins")
    valid_from: Moment | None = Field(default=None, description="the same as `from`")
    free: bool = False
    confirmed: bool = Field(
        default=False,
        description="the rates are meant, although they are more than five times off the book's",
    )
    service_tiers: dict[str, StatedSchedule] = Field(default_factory=dict)
    discount_percent: Number | None = Field(default=None, gt=0, lt=100)
    per_hour: Dollars | None = Field(default=None, gt=0)
    tokens_per_second: Number | None = Field(default=None, gt=0)
    input_tokens_per_second: Number | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _the_word_free(cls, written: object) -> object:
        word = written if isinstance(written, str) else None
        if word == "free":
            return {"free": True}
        if word is not None:
            raise ValueError('a price is "free" or a mapping such as {input: 2.50, output: 10}')
        return written

    @property
    def begins(self) -> datetime | None:
        """When it begins; without a zone the organisation's is meant. None: it always held."""
        return self.from_ or self.valid_from

    @property
    def may_be_a_slip(self) -> bool:
        """Whether it was written as rates that nobody has looked at twice."""
        return self.input is not None and not self.confirmed

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if self.from_ is not None and self.valid_from is not None:
            raise ValueError("a price begins once: write `from` or `valid_from`, not both")
        return self

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_token = bool(self.stated() or self.tiers or self.service_tiers)
        by_machine = any((self.per_hour, self.tokens_per_second, self.input_tokens_per_second))
        ways = [self.free, by_token, self.discount_percent is not None, by_machine]
        if sum(ways) != 1:
            raise ValueError(
                "a price is stated in exactly one way: `free`, rates such as `input` and "
                "`output`, `discount_percent`, or `per_hour` with `tokens_per_second`"
            )
        if by_token and (self.input is None or self.output is None):
            raise ValueError(
                "a price needs both `input` and `output`; write `output: 0` for embeddings"
            )
        if by_machine and (self.per_hour is None or self.tokens_per_second is None):
            raise ValueError("a machine's price needs both `per_hour` and `tokens_per_second`")
        if by_token and not any(self.stated().values()):
            raise ValueError("a price of 0 is written `free`, so that nobody is free by accident")
        return self


def to_price(stated: StatedPrice, base: Price | None) -> Price:
    """The price that was meant; `base` is the price book's, for a discount.

    Raises ConfigurationError for a discount on a model that the price book does not have.
    """
    if stated.free:
        return Price(rates=NO_COST, source=SOURCE, free=True)
    if stated.discount_percent is not None:
        if base is None:
            raise ConfigurationError(
                ["a `discount_percent` needs a price in the price book, and it has none"]
            )
        return _discounted(base, stated.discount_percent)
    if stated.per_hour is not None and stated.tokens_per_second is not None:
        return _of_a_machine(
            stated.per_hour,
            stated.tokens_per_second,
            stated.input_tokens_per_second or stated.tokens_per_second,
        )
    services = {name: schedule.statement() for name, schedule in stated.service_tiers.items()}
    return assemble(stated.statement(), services, source=SOURCE)


def _discounted(base: Price, percent: Decimal) -> Price:
    """Every rate of `base`, fees included, less so many percent; to the nearest nano."""
    part, whole = ((100 - percent) / 100).as_integer_ratio()

    def rates(full: Rates) -> Rates:
        names: Mapping[str, int] = {name: getattr(full, name) for name in Rates.__struct_fields__}
        return Rates(**{name: round_half_even(rate * part, whole) for name, rate in names.items()})

    def tiers(full: tuple[Tier, ...]) -> tuple[Tier, ...]:
        return tuple(
            Tier(above=tier.above, at_or_above=tier.at_or_above, rates=rates(tier.rates))
            for tier in full
        )

    return Price(
        rates=rates(base.rates),
        tiers=tiers(base.tiers),
        service_tiers={
            name: Schedule(rates=rates(schedule.rates), tiers=tiers(schedule.tiers))
            for name, schedule in base.service_tiers.items()
        },
        valid_from=base.valid_from,
        source=f"{base.source}, less {percent}% ({SOURCE})",
        free=base.free,
    )


def _of_a_machine(per_hour: int, writes: Decimal, reads: Decimal) -> Price:
    """The price of a machine of `per_hour` nano-dollars at so many tokens a second."""

    def per_million(tokens_per_second: Decimal) -> int:
        tokens, per = (tokens_per_second * _SECONDS_PER_HOUR).as_integer_ratio()
        return round_half_even(per_hour * TOKENS_PER_PRICE * per, tokens)

    rates = {"input": per_million(reads), "output": per_million(writes)}
    return assemble(Statement(rates=rates), {}, source=SOURCE)
