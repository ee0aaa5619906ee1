"""The gate: what makes a file doubtful as a frontal chest radiograph, and what is done about it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from localization.refusal import RadiographRefused

Policy = Literal["refuse", "flag", "off"]
"""`refuse` what cannot be a frontal chest radiograph and flag what is doubtful; `flag` both; or
look for neither."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something about a file that the answer warns of, or that it is refused for."""

    code: str
    """A stable kebab-case slug for machines."""
    sentence: str
    """For people, who can act on it. It never quotes what a file says of its patient."""
    disqualifying: bool = False
    """Whether such a file cannot be a frontal chest radiograph."""
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    """What was measured or read, and what it was compared with."""


def settle(doubts: Iterable[Doubt], policy: Policy) -> tuple[Doubt, ...]:
    """The doubts that remain as warnings.

    Raises:
        RadiographRefused: the policy is `refuse` and a doubt is disqualifying.
    """
    settled = tuple(doubts)
    if policy == "refuse":
        for doubt in settled:
            if doubt.disqualifying:
                raise RadiographRefused(doubt.code, doubt.sentence, doubt.evidence)
    return settled
