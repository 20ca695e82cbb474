"""Everything a caller can be told went wrong.

    GatewayError
      Refused                    we said no, and nothing was spent
        BadRequest          400  the request is not one we, or the provider, can understand
        NotAuthenticated    401  the key is missing, unknown, expired or revoked
        BudgetExhausted     402  the worst case does not fit what is left, whatever is released
        UnpricedModel       402  nobody has said what the model costs
        Forbidden           403  the key is good, but not for this
        UnknownJob          404  routes.yaml has no such job or alias
        NotFound            404  there is no such thing here
        Conflict            409  what is there already does not go with it
        Duplicate           409  a request with this idempotency key is under way
        TooLarge            413  the body or the prompt is larger than allowed
        RateLimited         429  a limit per minute or hour is used up and resets by itself
        BudgetBusy          429  there is money, but open requests hold it
        Unavailable         503  we cannot take requests now: the books are out of reach
          NoCredential      503  the provider's API key is not in the environment
          ShuttingDown      503  this process is about to end
      UpstreamFailed             a provider was asked and did not deliver
        UpstreamRefused     4xx  the provider says that the request itself is wrong
        UpstreamBroken      502  the provider failed, or its answer made no sense
        UpstreamBusy        503  the provider is overloaded, or its breaker is open
        UpstreamTimedOut    504  the provider said nothing in time
      CallerLeft            499  the caller hung up; nobody is told
    ConfigurationError           routes.yaml or a setting is wrong; never reaches a caller

402 is never worth a retry and 429 is: only what passes by itself is a 429, because frameworks
retry every 429. Anything that is not one of these is a bug of ours and stays a plain 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class GatewayError(Exception):
    """Something a caller is told, with the OpenAI error type and code that say it."""

    status: int = 500
    kind: ClassVar[str] = "server_error"
    code: str = "internal_error"
    retry: ClassVar[bool] = False
    """Whether a client that waits and asks again may expect another answer."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.details = dict(details or {})


class Refused(GatewayError):
    """We said no before anything was spent."""

    kind = "invalid_request_error"


class BadRequest(Refused):
    """The request is not one that can be understood; `param` is the field's path."""

    status = 400
    code = "invalid_request"


class NotAuthenticated(Refused):
    """The key is missing, unknown, expired or revoked."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class BudgetExhausted(Refused):
    """The most this request could cost does not fit even if every open hold settled at nothing."""

    status = 402
    kind = "insufficient_quota"
    code = "budget_exhausted"


class UnpricedModel(Refused):
    """The model has no price, so its cost cannot be bounded (law 10)."""

    status = 402
    kind = "insufficient_quota"
    code = "unpriced_model"


class Forbidden(Refused):
    """The key is good, but not for this."""

    status = 403
    kind = "permission_error"
    code = "forbidden"


class NotFound(Refused):
    """There is no such thing here."""

    status = 404
    code = "not_found"


class UnknownJob(NotFound):
    """routes.yaml has no job or alias of that name."""

    code = "unknown_job"


class Conflict(Refused):
    """What is there already does not go with it: a name that is taken, a team that has apps."""

    status = 409
    kind = "conflict_error"
    code = "conflict"


class Duplicate(Refused):
    """A request with the same idempotency key is under way, or ended without a kept answer."""

    status = 409
    kind = "conflict_error"
    code = "duplicate_request"


class TooLarge(Refused):
    """The body, or the prompt for the chosen model, is larger than allowed."""

    status = 413
    code = "request_too_large"


class RateLimited(Refused):
    """A limit on a short period is used up; it resets by itself."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limited"
    retry = True


class BudgetBusy(Refused):
    """There is money, but other open requests hold it, and waiting for them took too long."""

    status = 429
    kind = "rate_limit_error"
    code = "budget_busy"
    retry = True


class Unavailable(Refused):
    """We cannot take requests now: the books are out of reach, or nothing can be asked."""

    status = 503
    kind = "server_error"
    code = "unavailable"
    retry = True


class NoCredential(Unavailable):
    """The provider's API key is not there; the message names the environment variable."""

    code = "no_credential"
    retry = False


class ShuttingDown(Unavailable):
    """This process is about to end; another, or its successor, will answer."""

    code = "shutting_down"


class CallerLeft(GatewayError):
    """The caller hung up and the job says to stop; nobody is left to be told."""

    status = 499
    code = "caller_left"


class UpstreamFailed(GatewayError):
    """A provider was asked and did not deliver.

    `may_have_cost` says that the provider might charge for the attempt although no usage
    came back; the books then presume the ceiling.
    """

    status = 502
    kind = "upstream_error"
    code = "upstream_failed"
    retry = True

    def __init__(
        self,
        message: str,
        *,
        target: str = "",
        provider_status: int | None = None,
        may_have_cost: bool = False,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)
        self.target = target
        self.provider_status = provider_status
        self.may_have_cost = may_have_cost


class UpstreamRefused(UpstreamFailed):
    """The provider says that the request itself is wrong; asking again changes nothing."""

    kind = "invalid_request_error"
    code = "upstream_refused"
    retry = False

    def __init__(self, message: str, *, status: int = 400, **more: object) -> None:
        super().__init__(message, provider_status=status, **more)  # type: ignore[arg-type]
        self.status = status


class UpstreamBroken(UpstreamFailed):
    """The provider failed, hung up, or its answer made no sense."""

    status = 502


class UpstreamBusy(UpstreamFailed):
    """The provider is overloaded or limits our rate, or its breaker is open."""

    status = 503
    code = "upstream_busy"


class UpstreamTimedOut(UpstreamFailed):
    """The provider said nothing in time."""

    status = 504
    code = "upstream_timed_out"


class ConfigurationError(Exception):
    """A file or a setting is wrong; `problems` lists all that was found, one a line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
