"""A wrong routes.yaml is told in full: line, path, and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.jobs.document import BYTES_MAX
from gateway.jobs.loading import load
from tests.jobs.samples import BOOK, SMALL, changed, loaded, problems

NAMES = "must be 1 to 32 of a-z, 0-9, _ and -, beginning with a letter"

ONE_MISTAKE = {
    "a provider that is not there": (
        ("targets: [openai/gpt-4.1]", "targets: [opnai/gpt-4.1]"),
        "20: jobs.extraction.targets[0]: unknown provider 'opnai'; did you mean 'openai'?",
    ),
    "a target without a provider": (
        ("targets: [openai/gpt-4.1]", "targets: [gpt-4.1]"),
        '20: jobs.extraction.targets[0]: must be "provider/model", such as openai/gpt-5.4',
    ),
    "a target that is there twice": (
        ("targets: [openai/gpt-4.1]", "targets: [openai/gpt-4.1, openai/gpt-4.1]"),
        "20: jobs.extraction.targets[1]: 'openai/gpt-4.1' is in the chain already",
    ),
    "no targets": (
        ("targets: [openai/gpt-4.1]", "targets: []"),
        "20: jobs.extraction.targets: must have at least 1 item after validation, not 0",
    ),
    "a misspelt field": (
        ("    purpose: Structured", "    purposs: x\n    purpose: Structured"),
        "18: jobs.extraction.purposs: there is no such field; did you mean 'purpose'?",
    ),
    "a misspelt field deep inside": (
        ("temperature: {default", "temperature: {outsid: clamp, default"),
        "21: jobs.extraction.temperature.outsid: there is no such field; did you mean 'outside'?",
    ),
    "a misspelt section": (
        ("aliases:", "alias:"),
        "30: alias: there is no such field; did you mean 'aliases'?",
    ),
    "a missing field": (
        ("    owner: data\n", ""),
        "17: jobs.extraction.owner: is missing",
    ),
    "a missing section": (
        ("version: 1\n", ""),
        "1: version: is missing",
    ),
    "text where a number belongs": (
        ("max: 4000}\n    tags", 'max: "4000"}\n    tags'),
        "22: jobs.extraction.output_tokens.max: must be a valid integer",
    ),
    "a word that is not one of the list": (
        ("period: month", "period: monht"),
        "33: budgets.all.period: must be 'minute', 'hour', 'day', 'week', 'month', 'quarter', "
        "'year', 'fiscal_year' or 'forever', not 'monht'; did you mean 'month'?",
    ),
    "a scope that is not one": (
        ("scope: organisation", "scope: each tem"),
        "33: budgets.all.scope: must be 'organisation', 'each team', 'each app', 'each key' or "
        "'each job', or one alone such as {team: brand} or {tag: run}, not 'each tem'; "
        "did you mean 'each team'?",
    ),
    "a scope of two": (
        ("scope: organisation", "scope: {team: a, app: b}"),
        "33: budgets.all.scope: must name exactly one of team, app, key, job, tag",
    ),
    "a value without a tag": (
        ("scope: organisation", "scope: {team: a, value: b}"),
        "33: budgets.all.scope.value: is for a tag; write team: the name",
    ),
    "a budget for a job that is not there": (
        ("scope: organisation", "scope: {job: extractoin}"),
        "33: budgets.all.scope.job: unknown job 'extractoin'; did you mean 'extraction'?",
    ),
    "a budget for a tag that no job accepts": (
        ("scope: organisation", "scope: {tag: runs}"),
        "33: budgets.all.scope.tag: no job accepts the tag 'runs'; did you mean 'run'?",
    ),
    "a limit without a unit": (
        ("limit: 2000 USD", "limit: 2000"),
        "33: budgets.all.limit: must be a valid string",
    ),
    "a limit with a comma": (
        ("limit: 2000 USD", 'limit: "2,000 USD"'),
        '33: budgets.all.limit: must be like "2000 USD", "5000000 tokens" or "600 requests"',
    ),
    "a limit beyond the books": (
        ("limit: 2000 USD", "limit: 1000000001 USD"),
        "33: budgets.all.limit: is more than the books can add up",
    ),
    "a name with capitals": (
        ("  all: {scope", "  All: {scope"),
        f"33: budgets.All: {NAMES}",
    ),
    "a tag with a space": (
        ("tags: [run]", "tags: [my run]"),
        f"23: jobs.extraction.tags[0]: {NAMES}",
    ),
    "a job's name with a slash": (
        ("  private:", "  pri/vate:"),
        "24: jobs[\"pri/vate\"]: must be 1 to 64 of a-z, 0-9, '.', _ and -, beginning with a "
        "letter or digit",
    ),
    "an alias that hides a job": (
        ("gpt-4o: extraction", "private: extraction"),
        "31: aliases.private: hides the job of the same name; choose another name",
    ),
    "an alias to nothing": (
        ("gpt-4o: extraction", "gpt-4o: extractio"),
        "31: aliases.gpt-4o: unknown job 'extractio'; did you mean 'extraction'?",
    ),
    "an alias to an alias": (
        ("gpt-4o: extraction", "gpt-4o: extraction\n  gpt-4.1: gpt-4o"),
        "32: aliases[\"gpt-4.1\"]: 'gpt-4o' is an alias too; an alias must name a job",
    ),
    "a default above the maximum": (
        ("temperature: {default: 0, max: 1}", "temperature: {default: 1.5, max: 1}"),
        "21: jobs.extraction.temperature.default: 1.5 is not between min 0 and max 1",
    ),
    "a minimum above the maximum": (
        ("temperature: {default: 0, max: 1}", "temperature: {min: 1, max: 0.5}"),
        "21: jobs.extraction.temperature: min 1 is more than max 0.5",
    ),
    "a default output above the maximum": (
        ("{default: 1000, max: 4000}", "{default: 5000, max: 4000}"),
        "22: jobs.extraction.output_tokens.default: 5000 is more than max 4000",
    ),
    "a model of a provider that is not there": (
        ("house/llama: {", "hause/llama: {price: free}\n  house/llama: {"),
        "15: models[\"hause/llama\"]: unknown provider 'hause'; did you mean 'house'?",
    ),
    "a price in no known way": (
        ("price: free", "price: {input: 1}"),
        '15: models["house/llama"].price: a price needs both `input` and `output`; write '
        "`output: 0` for embeddings",
    ),
    "a price of astronomical size": (
        ("price: free", 'price: {input: "1e999999999", output: 1}'),
        '15: models["house/llama"].price: numbers are written out, in at most 32 characters',
    ),
    "a discount on nothing": (
        ("price: free", "price: {discount_percent: 10}"),
        '15: models["house/llama"].price: a `discount_percent` needs a price in the price book, '
        "and it has none",
    ),
    "a time zone that is not one": (
        ("time_zone: UTC", "time_zone: Europe/Berln"),
        "2: organisation.time_zone: unknown time zone 'Europe/Berln'; did you mean "
        "'Europe/Berlin'?",
    ),
    "a time zone that is a file": (
        ("time_zone: UTC", "time_zone: ../../etc/passwd"),
        "2: organisation.time_zone: unknown time zone '../../etc/passwd'",
    ),
    "an API key where its variable's name belongs": (
        ("api_key_env: OPENAI_API_KEY", "api_key_env: sk-proj-secret"),
        "8: providers.openai.api_key_env: must be the name of an environment variable, such as "
        "OPENAI_API_KEY",
    ),
    "a key in a header": (
        ("api_key_env: OPENAI_API_KEY", "headers: {Authorization: Bearer sk-secret}"),
        "8: providers.openai.headers.Authorization: cannot be stated here; an API key belongs in "
        "api_key_env or api_key_file",
    ),
    "a header with a line break": (
        ("api_key_env: OPENAI_API_KEY", 'headers: {X-Team: "a\\nHost: b"}'),
        "8: providers.openai.headers.X-Team: must be at most 1024 printable ASCII characters",
    ),
    "two places for one key": (
        ("api_key_env: OPENAI_API_KEY", "api_key_env: OPENAI_API_KEY\n    api_key_file: /k"),
        "4: providers.openai: has both api_key_env and api_key_file; state one",
    ),
    "a flavour on a wire without": (
        ("wire: openai\n    flavour: openai", "wire: anthropic\n    flavour: openai"),
        "6: providers.openai.flavour: is for wire openai; wire anthropic has none",
    ),
    "LiteLLM without its name for the provider": (
        ("wire: openai\n    flavour: openai", "wire: litellm"),
        "4: providers.openai.litellm_provider: is missing; wire litellm needs it",
    ),
    "an address without a scheme": (
        ("base_url: https://api.openai.com/v1", "base_url: api.openai.com/v1"),
        "7: providers.openai.base_url: must be an address such as https://api.example.com/v1",
    ),
    "an address of a file": (
        ("base_url: https://api.openai.com/v1", "base_url: file:///etc/passwd"),
        "7: providers.openai.base_url: must be an address such as https://api.example.com/v1",
    ),
    "an address with a line break": (
        ("base_url: https://api.openai.com/v1", 'base_url: "https://a.example/\\nx"'),
        "7: providers.openai.base_url: must be an address such as https://api.example.com/v1",
    ),
    "an address with a port that is none": (
        ("base_url: https://api.openai.com/v1", "base_url: https://api.openai.com:99999/v1"),
        "7: providers.openai.base_url: must be an address such as https://api.example.com/v1",
    ),
    "an address with a password": (
        ("base_url: https://api.openai.com/v1", "base_url: https://u:secret@api.openai.com/v1"),
        "7: providers.openai.base_url: must not hold credentials; they belong in api_key_env or "
        "api_key_file",
    ),
    "an address with a key in its query": (
        ("base_url: https://api.openai.com/v1", "base_url: https://api.openai.com/v1?key=secret"),
        "7: providers.openai.base_url: must end with its path, without ? or #",
    ),
    "no address": (
        ("    base_url: https://api.openai.com/v1\n", ""),
        "4: providers.openai.base_url: is missing",
    ),
    "a key that is there twice": (
        ("    owner: data\n", "    owner: data\n    owner: data\n"),
        "20: jobs.extraction.owner: is there twice; the first is on line 19",
    ),
    "a merge key": (
        ("  all: {scope", "  all: {<<: {enforce: warn}, scope"),
        "33: budgets.all: merge keys (<<) are not supported; write the fields out",
    ),
    "a tag of YAML": (
        ("name: Test", "name: !!python/name:os.system x"),
        "2: organisation.name: the tag tag:yaml.org,2002:python/name:os.system is not used here",
    ),
    "a control character": (
        ("purpose: Structured output.", 'purpose: "a\\0b"'),
        "18: jobs.extraction.purpose: the text has control characters that cannot be used",
    ),
    "half of a character": (
        ("purpose: Structured output.", 'purpose: "\\ud800"'),
        "18: jobs.extraction.purpose: the text has control characters that cannot be used",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), ONE_MISTAKE.values(), ids=ONE_MISTAKE.keys())
def test_a_mistake_is_told_with_its_line_and_path(change: tuple[str, str], sentence: str) -> None:
    assert f"routes.yaml:{sentence}" in problems(changed(change))


@pytest.mark.parametrize("change", [c for c, _ in ONE_MISTAKE.values()], ids=ONE_MISTAKE.keys())
def test_no_secret_is_repeated(change: tuple[str, str]) -> None:
    assert "secret" not in "".join(problems(changed(change)))


def test_the_small_file_itself_is_right() -> None:
    assert loaded(SMALL).warnings == ()


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = changed(
        ("time_zone: UTC", "time_zone: Mars/Olympus"),
        ("base_url: https://api.openai.com/v1", "base_url: api.openai.com"),
        ("    owner: data\n    targets: [openai/", "    ownr: data\n    targets: [opnai/"),
        ("targets: [house/llama]", "targets: [house/llama, openai/gpt-4.1]"),
        ("gpt-4o: extraction", "gpt-4o: nothing-like-it"),
        ("limit: 2000 USD", "limit: lots"),
    )
    assert [line.removeprefix("routes.yaml:") for line in problems(text)] == [
        "2: organisation.time_zone: unknown time zone 'Mars/Olympus'",
        "7: providers.openai.base_url: must be an address such as https://api.example.com/v1",
        "17: jobs.extraction.owner: is missing",
        "19: jobs.extraction.ownr: there is no such field; did you mean 'owner'?",
        "20: jobs.extraction.targets[0]: unknown provider 'opnai'; did you mean 'openai'?",
        "31: aliases.gpt-4o: unknown job 'nothing-like-it'",
        '33: budgets.all.limit: must be like "2000 USD", "5000000 tokens" or "600 requests"',
    ]


def test_a_wrong_provider_does_not_make_its_targets_unknown() -> None:
    text = changed(("base_url: https://api.openai.com/v1", "base_url: nowhere"))
    assert len(problems(text)) == 1


NOT_A_FILE = {
    "nothing": ("", "routes.yaml:1: the file is empty"),
    "a list": (
        "- a",
        "routes.yaml:1: the file must be a mapping with version, organisation, providers, jobs",
    ),
    "an open bracket": (
        "a: [1,\nb: 2",
        "routes.yaml:2: not valid YAML: expected ',' or ']', but got '<stream end>'",
    ),
    "tabs": (
        "a:\n\tb: 1",
        "routes.yaml:2: not valid YAML: found character '\\t' that cannot start any token "
        "(indent with spaces)",
    ),
    "a NUL": (
        "a: 1\nb: \0",
        "routes.yaml:2: not valid YAML: special characters are not allowed (character #0x0)",
    ),
    "an alias to nothing": ("a: *b", "routes.yaml:1: not valid YAML: found undefined alias 'b'"),
    "two documents": (
        "a: 1\n---\nb: 1",
        "routes.yaml:2: not valid YAML: but found another document",
    ),
    "a thousand brackets": ("[" * 1000, "routes.yaml:1: not valid YAML: nested too deeply"),
}


@pytest.mark.parametrize(("text", "sentence"), NOT_A_FILE.values(), ids=NOT_A_FILE.keys())
def test_what_is_not_a_routes_file_is_told_with_its_line(text: str, sentence: str) -> None:
    assert problems(text) == [sentence]


def test_a_bomb_of_aliases_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    found = problems("\n".join(levels))
    assert any("more than 50,000 values; aliases count in full" in line for line in found)


def test_a_thousand_mistakes_are_counted_rather_than_told() -> None:
    found = problems(SMALL + "".join(f"extra{number}: 1\n" for number in range(1000)))
    assert len(found) == 201
    assert found[-1] == "routes.yaml: and 800 more problems"


def test_an_alias_inside_of_itself_is_refused() -> None:
    found = problems(changed(("tags: [run]", "tags: &t [*t]")))
    assert "routes.yaml:23: jobs.extraction.tags[0]: an alias stands inside what it stands for" in (
        found
    )


def test_an_anchor_can_be_used_again() -> None:
    text = changed(
        ("output_tokens: {default: 1000, max: 4000}", "output_tokens: &short {max: 500}"),
        ("output_tokens: {max: 4000}", "output_tokens: *short"),
    )
    jobs = loaded(text).jobs
    assert jobs["extraction"].output == jobs["private"].output
    assert jobs["private"].output.max == 500


def test_words_that_older_yaml_takes_for_booleans_are_text() -> None:
    text = changed(("owner: data", "owner: yes"), ("  private:", "  on:"))
    routes = loaded(text)
    assert routes.jobs["extraction"].owner == "yes"
    assert "on" in routes.jobs


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_bytes(b"#" * (BYTES_MAX + 1))
    with pytest.raises(ConfigurationError, match=r"routes\.yaml:1: the file is larger than"):
        load(path, book=BOOK, environment={})


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load(tmp_path / "routes.yaml", book=BOOK, environment={})
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path, book=BOOK, environment={})
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\nname: caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2: the file is not UTF-8"):
        load(tmp_path / "latin.yaml", book=BOOK, environment={})


def test_a_price_that_looks_like_cents_is_refused_until_it_is_confirmed() -> None:
    price = "price: {input: 200, output: 800}"
    odd = changed(("models:\n", f"models:\n  openai/gpt-4.1: {{{price}}}\n"))
    (problem,) = problems(odd)
    assert problem.startswith('routes.yaml:15: models["openai/gpt-4.1"].price: ')
    assert "it looks like cents, where dollars belong" in problem
    assert "write `confirmed: true`" in problem
    meant = odd.replace("output: 800", "output: 800, confirmed: true")
    assert loaded(meant).warnings == ()
