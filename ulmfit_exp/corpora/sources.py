"""The publishers' files: where they are on disk, how they are downloaded, and their digests."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pooch

from ..common import DataError, sha256

MINIATURE = Path(__file__).parent / "miniature"


@dataclass(frozen=True)
class Source:
    """A publisher's file: its path below a data directory, its address and its published digest."""

    path: str
    url: str
    sha256: str = ""
    """SHA-256 of the file as published; empty if none is published."""
    unpacked: str = ""
    """Folder that an archive unpacks to; it is read if the archive is missing."""
    by_hand: bool = False
    """True if no file address is known or a login is needed; `url` is then the page to get the file from."""


def find(source: Source, data_dir: Path | None, download: bool = True) -> Path:
    """Return the path of `source`: in `data_dir`, in the cache, or downloaded into the cache.

    A file listed in `SHA256SUMS` of the data directory or the cache is checked against it. Raises `DataError`.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"the data directory {data_dir} is not a folder; see --data-dir and $ULMFIT_EXP_DATA")
    if data_dir and (path := _place(source, data_dir)):
        _check_sums(data_dir, path)
        return path
    if data_dir == MINIATURE:
        raise DataError(f"there is no miniature of {source.path}; run without --miniature")
    cache = pooch.os_cache("ulmfit_exp")
    if (path := cache / source.path).exists():  # not its folder, which a download that failed leaves there
        _check_sums(cache, path)
        return path
    if not download:
        raise DataError(f"{source.path} is neither in the data directory nor in the cache")
    return _download(source, cache, data_dir)


def _place(source: Source, folder: Path) -> Path | None:
    """Return where `source` is in `folder`, or None."""
    places = [p for p in (source.path, source.unpacked) if p]
    found = [folder / p for p in places] + [folder / Path(p).name for p in places]
    return next((path for path in found if path.exists()), None)


def _check_sums(folder: Path, path: Path) -> None:
    sums = folder / "SHA256SUMS"
    if not sums.is_file() or not path.is_file():
        return
    name = path.relative_to(folder).as_posix()
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        expected, _, listed = line.partition(" ")
        if listed.strip(" *").removeprefix("./") == name and sha256(path) != expected:
            raise DataError(f"{path} does not have the SHA-256 listed in {sums}; download it again or correct the list")


def _download(source: Source, cache: Path, data_dir: Path | None) -> Path:
    """Download the published file into the cache, where it is kept only if it has the published digest."""
    target = (data_dir or cache) / source.path
    advice = f"put it at {target}" + ", or run the experiment with --miniature" * bool(_place(source, MINIATURE))
    if source.by_hand:
        raise DataError(f"{target.name} is missing and has to be downloaded by hand from {source.url}; {advice}")
    final, known = cache / source.path, f"sha256:{source.sha256}" if source.sha256 else None
    pooch.get_logger().setLevel("WARNING")
    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    try:
        return Path(pooch.retrieve(source.url, known, final.name, final.parent, downloader=fetch))
    except (OSError, ValueError) as e:  # pooch raises ValueError if the digest is not the published one
        raise DataError(f"{final.name} is missing and could not be downloaded from {source.url} ({e}); {advice}") from e
