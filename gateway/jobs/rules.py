"""routes.yaml as a whole, the files that it includes, and the JSON Schemas of both."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.jobs.alert_schema import AlertsSection
from gateway.jobs.including import INCLUDED, INCLUDES_MAX
from gateway.jobs.schema import (
    ALIAS,
    BudgetSection,
    FileName,
    JobName,
    JobSection,
    ModelSection,
    Name,
    OrganisationSection,
    ProviderSection,
    TargetName,
    TeamSection,
    Text,
)
from gateway.jobs.section import Section


class IncludeSection(Section):
    """A file with more of the rules, and who answers for it."""

    file: FileName = Field(description="inside the folder of routes.yaml, such as teams/brand.yaml")
    owner: Text = Field(
        description="who answers for it; its jobs have this owner if they name none"
    )


class IncludedFile(Section):
    """A file that routes.yaml includes."""

    models: dict[TargetName, ModelSection] = Field(default_factory=dict)
    jobs: dict[JobName, JobSection] = Field(default_factory=dict)
    aliases: dict[Annotated[str, Field(pattern=ALIAS)], str] = Field(
        default_factory=dict, description="other names for jobs: gpt-4o: extraction"
    )
    teams: dict[Name, TeamSection] = Field(default_factory=dict)
    budgets: dict[Name, BudgetSection] = Field(default_factory=dict)


class RoutesFile(IncludedFile):
    """The whole of routes.yaml."""

    version: Literal[1]
    organisation: OrganisationSection
    providers: dict[Name, ProviderSection]
    jobs: dict[JobName, JobSection]
    alerts: AlertsSection = AlertsSection()
    include: list[IncludeSection] = Field(
        default_factory=list,
        max_length=INCLUDES_MAX,
        description=f"files with more {', '.join(INCLUDED)}, each with its owner",
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    return RoutesFile.model_json_schema()


def schema_of_included() -> dict[str, Any]:
    """The JSON Schema of an included file, whose jobs may have the owner of the file."""
    made = IncludedFile.model_json_schema()
    made["$defs"]["JobSection"]["required"].remove("owner")
    return made
