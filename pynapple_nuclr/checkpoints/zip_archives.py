"""Zip archives, as skops writes them: whole, and unpacked no larger than they are."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_STORED, ZipFile


def check_archive(path: Path) -> None:
    """Refuse an archive that is damaged, or would take more memory than disk.

    skops does not compress; so compressed members are refused, too.
    """
    with ZipFile(path) as archive:
        members = archive.infolist()
        if archive.comment or len({member.filename for member in members}) < len(members):
            raise ValueError("it has a comment, or members of the same name")
        if any(member.compress_type != ZIP_STORED for member in members):
            raise ValueError("its members are compressed; expected them as they are")
        size = sum(member.file_size for member in members)
        if size > path.stat().st_size:
            raise ValueError(f"its members are said to hold {size:,} bytes, more than all of it")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its member {damaged!r} has another checksum than when written")
