"""Edited rules: checked without writing anything, tried on past traffic, published, rolled back.

The service writes the files when somebody tells it to, and only then: with a reason, after every
check that a start would make, and only while the files still are what the editor has seen. Gateways
that follow the files take them over by themselves, this one too. What was there is copied first.

Where keys and requests are sent is not changed from a browser, nor with an admin key: a session or
a key that somebody has got hold of must not lead either elsewhere. Providers' addresses and
credentials, and the addresses of alerts, are changed in the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.callers.changes import By, ChangeLog
from gateway.clock import to_text
from gateway.errors import ConfigurationError
from gateway.insight.whatif import Question, WhatIf, ask, last_days
from gateway.jobs.differing import difference
from gateway.jobs.files import Files, look
from gateway.jobs.residency import prove
from gateway.jobs.routes import Routes
from gateway.jobs.versions import PAGE, ROLLBACK, Kept, Version, Versions, Why
from gateway.jobs.writing import write_files
from gateway.pipeline.reloading import Source, of_rules, unchangeable
from gateway.web.sources import Sources

LIVE = "live"


@dataclass(frozen=True, slots=True)
class Checked:
    """An edited set of files and what is to be said of it; `rules` is None when it is wrong."""

    files: Files
    rules: Routes | None
    prices: str
    """The version of the price book."""
    problems: tuple[str, ...]
    difference: tuple[str, ...]
    """The lines of it, against what is live."""

    @property
    def version(self) -> str:
        """The hash of the files."""
        return self.files.version


class Publisher:
    """Checks, tries and writes the files of one gateway. Every method blocks."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._versions = Versions(sources.org, sources.database.engine_name)
        self._log = ChangeLog(sources.org, sources.database.engine_name)

    def why_not(self) -> str:
        """Why nothing can be published here; empty when it can."""
        source = self._sources.source()
        if source is None:
            return "this gateway follows no file"
        try:
            there = self._there(source)
        except ConfigurationError as error:
            return f"the file on disk is not what is live, and is wrong: {error.problems[0]}"
        if there.version != self._sources.live().version:
            return "the file on disk is not what is live yet; look again in a moment"
        for name in there.texts:
            place = source.path.parent / name
            if place.is_symlink() or not os.access(place, os.W_OK):
                return f"{name} cannot be written from here: change it where it comes from"
        if not os.access(source.path.parent, os.W_OK):
            return "the folder of the rules cannot be written from here"
        return ""

    def check(self, edited: Mapping[str, str]) -> Checked:
        """What a start with some files edited, by name, would say. Raises ConfigurationError for a
        file that the rules do not have.

        Other files than those that are live are not looked at, so nothing on the disk is told.
        """
        live = self._sources.live()
        for name in edited:
            if name not in live.files:
                raise ConfigurationError([f"{name[:64]!r} is no file of the rules"])
        return self._checked({**live.files, **edited})

    def whatif(self, checked: Checked, days: int) -> WhatIf:
        """What the last days would have cost. Raises ConfigurationError."""
        source = self._source()
        period = last_days(days, self._sources.clock.now())
        question = Question(new=checked.files, period=period)
        sources = self._sources
        return ask(sources.database, sources.org, source.load, question, _unwatched)

    def publish(
        self, checked: Checked, base: str, reason: str, by: By, cause: str = PAGE
    ) -> Version:
        """Write edited files; `base` is the version that was edited. Returns its row in the books.

        Raises ConfigurationError when they are wrong, somebody else was quicker, or they cannot
        be written.
        """
        if checked.rules is None:
            raise ConfigurationError(list(checked.problems))
        moved = moved_addresses(self._sources.live(), checked.rules)
        if moved:
            raise ConfigurationError(moved)
        if checked.version == base:
            raise ConfigurationError(["nothing is different from what is live"])
        return self._write((checked, checked.rules), base, Why(cause, by.who, reason), by)

    def restore(self, kept: Kept, base: str, reason: str, by: By) -> Version:
        """Write the files of an earlier version again. Raises ConfigurationError: also where it
        would send something elsewhere than what is live."""
        root = next(iter(self._sources.live().files))
        texts = {root if name == kept.root else name: text for name, text in kept.texts.items()}
        checked = self._checked(texts)
        if checked.rules is None:
            raise ConfigurationError(list(checked.problems))
        number = kept.version.number
        moved = moved_addresses(self._sources.live(), checked.rules)
        if moved:
            raise ConfigurationError([*moved, f"or by `jobgate routes rollback {number}`"])
        told = f"back to version {number}: {reason}"
        return self._write((checked, checked.rules), base, Why(ROLLBACK, by.who, told), by)

    def history(self, most: int) -> list[Version]:
        """The versions that went live, the newest first."""
        with self._sources.database.reading() as cursor:
            return self._versions.history(cursor, most)

    def find(self, number: str) -> Kept:
        """A version with its files. Raises ConfigurationError."""
        with self._sources.database.reading() as cursor:
            return self._versions.find(cursor, number)

    def _checked(self, texts: Mapping[str, str]) -> Checked:
        live, source = self._sources.live(), self._source()
        files = Files(next(iter(live.files)), texts=dict(texts))
        told = tuple(difference(live.files, texts, (LIVE, "edited")))
        try:
            rules, book = source.load(files)
            prove(rules)
            fixed = unchangeable(live, rules)
            if fixed:
                raise ConfigurationError(fixed)
        except ConfigurationError as error:
            return Checked(files, None, "", tuple(error.problems), told)
        return Checked(files, rules, book.version, (), told)

    def _write(self, wanted: tuple[Checked, Routes], base: str, why: Why, by: By) -> Version:
        (checked, rules), source = wanted, self._source()
        refused = self.why_not()
        if refused:
            raise ConfigurationError([refused])
        there, now = self._there(source), self._sources.clock.now()
        with self._sources.database.writing() as cursor:  # others who publish wait here
            row, is_new = self._versions.keep(cursor, rules, checked.prices, why, now)
            if there.version != base or look(source.path, there.names) != there.fingerprint():
                raise ConfigurationError(
                    ["somebody else has changed the rules meanwhile; look at them again"]
                )
            if is_new:
                self._log.append(cursor, [of_rules(row)], by, now)
            write_files(source.path, checked.files.texts, there, to_text(now))
        return row

    def _source(self) -> Source:
        source = self._sources.source()
        if source is None:
            raise ConfigurationError(["this gateway follows no file"])
        return source

    def _there(self, source: Source) -> Files:
        """The files as they are on the disk. Raises ConfigurationError for wrong ones."""
        files = Files.at(source.path)
        source.load(files)
        return files


def _unwatched(_so_far: int, _all: int) -> None:
    """A page has nobody to tell how far it is."""


def moved_addresses(old: Routes, new: Routes) -> list[str]:
    """Where new rules would send something elsewhere, or with another credential, than old ones."""
    found = [
        f"providers.{name}: where requests and keys are sent is changed in the file itself"
        for name, provider in new.providers.items()
        if old.providers.get(name) != provider
    ]
    if _addresses(old) != _addresses(new):
        found.append("alerts: where they are sent is changed in the file itself")
    return found


def _addresses(rules: Routes) -> object:
    """Where alerts are sent, by what, and which of them may hear what stays in the house."""
    told = {
        name: (one.kind, one.url, one.url_env, one.secret_env, one.to, one.residency)
        for name, one in rules.alerts.destinations.items()
    }
    return told, rules.alerts.mail
