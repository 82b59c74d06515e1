"""What a running grid shows."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from ..record import read

if TYPE_CHECKING:
    from .grid import Planned


class View:
    """What the grid is doing: a bar and the last line of each running cell on a terminal; a line per finished cell."""

    def __init__(self, progress: Progress, waiting: "list[Planned]"):
        self.progress, self.left, self.cells = progress, list(waiting), len(waiting)
        self.start, self.tasks = time.monotonic(), {}
        self.whole = self._to_do()
        self.bar = progress.add_task("", total=len(waiting))

    def _to_do(self) -> float:
        return sum({path: s for p in self.left for path, s in p.to_do().items()}.values())

    def ended(self, planned: "Planned", error: str | None) -> None:
        self.left.remove(planned)
        self._leave(planned)
        how = f"failed: {error}" if error else _outcome(planned.path)
        self._print(f"{self.cells - len(self.left)}/{self.cells}  {planned.cell}  {how}")

    def moved(self, planned: "Planned", why: str) -> None:
        self._leave(planned)
        self._print(f"runs again from its last checkpoint: {planned.cell}: {why}")

    def _leave(self, planned: "Planned") -> None:
        if planned.path in self.tasks:
            self.progress.remove_task(self.tasks.pop(planned.path))

    def _print(self, line: str) -> None:
        self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def now(self, running: "list[Planned]", failed: dict, slots: int) -> None:
        spent, to_do = time.monotonic() - self.start, self._to_do()
        done = self.whole - to_do
        left = spent * to_do / done if done > 0.05 * self.whole else to_do / max(slots, 1)
        ends = self.cells - len(self.left)
        text = f"{ends} ended, {len(running)} running, {len(failed)} failed, {duration(left)} left"
        self.progress.update(self.bar, description=text, completed=ends)
        for p in running:
            if p.path not in self.tasks:
                self.tasks[p.path] = self.progress.add_task("", total=None)
            last = p.log.read_text("utf-8", errors="replace").strip().splitlines()[-1:] if p.log.exists() else []
            self.progress.update(self.tasks[p.path], description=f"  {p.cell}  {''.join(last)[:80]}")


def _outcome(path: Path) -> str:
    record = read(path)
    errors = [f"{split} {100 * record[split]['error']:.2f} %" for split in ("valid", "test") if split in record]
    took = duration(sum(s["seconds"] for s in record["stages"] if not s["reused"]))
    return "  ".join([*errors, took])


def duration(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes > 59 else f"{minutes} min" if minutes else "a minute"
