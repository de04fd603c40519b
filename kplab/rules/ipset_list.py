"""`ipset save` -> the lines of `ipset list`, but for what only the latter tells: revision, memory, references."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class IpsetListing:
    """The lines, and where in them each set and its members stand."""

    lines: list[str] = field(default_factory=list)
    sets: dict[str, int] = field(default_factory=dict)
    """A set's name -> the line that it begins with."""
    members: dict[str, range] = field(default_factory=dict)
    """A set's name -> the lines of its members."""


def list_ipsets(saved: str) -> IpsetListing:
    """Return what `ipset list` prints of the sets of `ipset save`; lines of another form are left out."""
    heads: dict[str, tuple[str, str]] = {}
    members: dict[str, list[str]] = {}
    for line in saved.splitlines():
        words = line.split(" ", 3)
        if words[0] == "create" and len(words) >= 3:
            heads[words[1]] = (words[2], words[3] if len(words) > 3 else "")
            members[words[1]] = []
        elif words[0] == "add" and len(words) >= 3 and words[1] in members:
            members[words[1]].append(" ".join(words[2:]))
    listing = IpsetListing()
    for name, (kind, header) in heads.items():
        found = members[name]
        listing.sets[name] = len(listing.lines)
        listing.lines += [f"Name: {name}", f"Type: {kind}", f"Header: {header}", f"Number of entries: {len(found)}"]
        listing.lines.append("Members:")
        first = len(listing.lines)
        listing.lines += found
        listing.members[name] = range(first, len(listing.lines))
        listing.lines.append("")
    return listing
