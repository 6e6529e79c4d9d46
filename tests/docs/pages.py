"""The pages of the documentation as tests read them: fenced blocks, links, headings, tables. Pure but for reading.

Left out: Markdown beyond what these pages use (no reference links, no HTML, no nested fences).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; `page` is relative to the repository."""

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line that is no comment: how tables of exceptions name it."""
        return next(line.strip() for line in self.text.splitlines() if line.strip()[:1] not in ("", "#"))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(*languages: str) -> tuple[Block, ...]:
    """Every fenced block of all pages in one of these languages."""
    return tuple(block for page in PAGES for block in blocks_of(page) if block.language in languages)


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        indent = len(found["indent"])
        content = "".join(line[indent:] or "\n" for line in found["text"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page=name_of(page), line=line, language=found["language"], text=content)


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def spans(text: str) -> list[str]:
    """What stands in backticks, on one line."""
    return [" ".join(span.split()) for span in _SPAN.findall(text)]


def links(page: Path) -> list[str]:
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The fragments that headings of a page are reached by, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(prose(page)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def rows_after(page: Path, marker: str) -> list[list[str]]:
    """The cells of the first table below a text, its heading left out."""
    _, found, rest = page.read_text().partition(marker)
    assert found, f"{name_of(page)} has nothing like {marker!r}"
    lines = re.search(r"^ *\|.*\|\n *\|[-| ]+\|\n((?: *\|.*\|\n)+)", rest, re.MULTILINE)
    assert lines is not None, f"{name_of(page)} has no table below {marker!r}"
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in lines[1].splitlines()
    ]
