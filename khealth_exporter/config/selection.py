"""Selects the routines that run: those that the command line names, or else those that are enabled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from khealth_exporter.config.config import LeftOut, named_by
from khealth_exporter.config.problem import Problem


@dataclass(frozen=True, slots=True)
class Candidate:
    """A routine that can run: one that the configuration lists, or a kind that it does not list, with defaults.

    `implied` is a kind of a module for which the configuration lists no routines. An `enabled` routine runs if the
    command line names nothing. `missing` are the keys of required settings that are not set.
    """

    module: str
    label: str
    listed: bool = False
    implied: bool = False
    enabled: bool = False
    missing: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Return the names that select this one routine."""
        return named_by(self.module, self.label)

    @property
    def left_out(self) -> LeftOut:
        """Return the routine as one that does not run."""
        return LeftOut(self.module, self.label, self.missing)


@dataclass(frozen=True, slots=True)
class Selection:
    """Routines that run, routines that lack a required setting, and errors in the names on the command line."""

    chosen: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    problems: tuple[Problem, ...] = ()


def select(candidates: Sequence[Candidate], named: Sequence[str]) -> Selection:
    """Return what runs if the command line names these modules and routines.

    MODULE selects the module's routines that the configuration lists, or all its kinds if it lists none; ROUTINE the
    routines of this name in any module; MODULE/ROUTINE one routine. A named routine runs even if it is not enabled.
    """
    if not named:
        return _selection(candidates, [candidate for candidate in candidates if candidate.enabled])
    found: list[Candidate] = []
    problems: list[Problem] = []
    for name in named:
        matches = _matches(candidates, name)
        found += matches
        if not matches:
            problems.append(Problem(name, 0, 0, "", f"unknown module or routine; known: {_known(candidates, name)}"))
        elif all(candidate.missing for candidate in matches):
            problems += (Problem(name, 0, 0, "", text) for match in matches for text in match.left_out.problems)
    return _selection(candidates, found, problems)


def _selection(
    candidates: Iterable[Candidate], found: Sequence[Candidate], problems: Iterable[Problem] = ()
) -> Selection:
    in_order = [candidate for candidate in candidates if candidate in found]
    return Selection(
        tuple(candidate for candidate in in_order if not candidate.missing),
        tuple(candidate.left_out for candidate in in_order if candidate.missing),
        tuple(problems),
    )


def _matches(candidates: Iterable[Candidate], name: str) -> list[Candidate]:
    modules = {candidate.module for candidate in candidates}

    def matches(candidate: Candidate) -> bool:
        if name == candidate.module and (candidate.listed or candidate.implied):
            return True
        # The name of a module does not select a kind that is called like it and that the configuration does not list.
        return name in candidate.names and (candidate.listed or name not in modules)

    return [candidate for candidate in candidates if matches(candidate)]


def _known(candidates: Iterable[Candidate], name: str) -> str:
    if "/" in name:
        return ", ".join(sorted(f"{candidate.module}/{candidate.label}" for candidate in candidates))
    return ", ".join(sorted({name for candidate in candidates for name in (candidate.module, candidate.label)}))
