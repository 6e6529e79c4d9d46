"""As much of PromQL as it takes to say which metrics and labels an expression names. Evaluates nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

WORDS = frozenset(
    {
        "absent",
        "and",
        "by",
        "count",
        "histogram_quantile",
        "increase",
        "max",
        "min",
        "on",
        "or",
        "rate",
        "sum",
        "time",
    }
)
TARGET_LABELS = frozenset({"job", "instance"})
"""What Prometheus itself puts on every series."""

_TEXT = r'"[^"]*"'
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_TEXT})")
_GROUPING = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_WORD = re.compile(r"[a-zA-Z_:][\w:]*")


@dataclass
class Names:
    """What an expression names."""

    metrics: set[str] = field(default_factory=set)
    matched: list[tuple[str, str, str]] = field(default_factory=list)
    """Metric, label, and the text that it is matched with."""
    grouped: set[str] = field(default_factory=set)


def names_of(expression: str) -> Names:
    found = Names()
    for metric, matchers in _SELECTOR.findall(expression):
        rest = _MATCHER.sub("", matchers).replace(",", "").strip()
        assert not rest, f"not understood: {rest!r} in {expression}"
        found.matched += [(metric, label, text.strip('"')) for label, _, text in _MATCHER.findall(matchers)]
    for labels in _GROUPING.findall(expression):
        found.grouped |= {label.strip() for label in labels.split(",")}
    bare = _RANGE.sub(" ", _GROUPING.sub(" ", re.sub(r"\{[^}]*\}", " ", expression)))
    found.metrics = set(_WORD.findall(bare)) - WORDS
    return found
