"""The recordings on which all systems are compared: simulated worlds, and parts of real tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynapple as nap
from real_tasks import LABEL, TASKS

from pynapple_nuclr import simulate
from pynapple_nuclr.baselines import Lolcat, Nemo, Neuprint, Poyo
from recordings import renewal, steinmetz_trials, tuned_session, with_waveforms

_PUBLISHED = json.loads((Path(__file__).parent / "published_code.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class World:
    """Recordings, and what is asked about them."""

    title: str
    recordings: Callable[[int], Mapping[str, Any]]  # of a seed
    system: str = ""  # the system whose task this is
    published: str = ""  # macro F1 of its published code, on another draw
    # Seed → the same on the draw of this seed, where it was run on it.
    published_on: Mapping[str, float] = field(default_factory=dict)
    target: str = "cell_type"
    protocol: str = "inductive_zero_shot"
    behaviour: Callable[[int], Mapping[str, Any]] | None = None
    left_out: Callable[[str], str] = str  # name of a recording → what is left out with it

    def marks(self, seeds: Sequence[int]) -> list[float]:
        """Return what the published code reached for each seed: on its draw, or on another."""
        if all(str(seed) in self.published_on for seed in seeds):
            return [self.published_on[str(seed)] for seed in seeds]
        return [float(self.published)] * len(seeds)


def _pair(make: Callable[..., Any], seed: int, **how: Any) -> dict[str, Any]:
    return {f"animal{i}": make(2 * seed + i, **how) for i in range(2)}


def _tuned(seed: int) -> list[dict[str, Any]]:
    made = {f"session{i}": tuned_session(3 * seed + i) for i in range(3)}
    return [{name: pair[part] for name, pair in made.items()} for part in (0, 1)]


def _context(seed: int) -> dict[str, Any]:
    how = {"n_units": 80, "duration": 240, "modality": "calcium"}
    return dict(simulate("context", animals=2, seed=seed, **how))  # type: ignore[call-overload]


WORLDS = {
    "renewal": World(
        "Five kinds of renewal process, 2 × 90 units, 60 s; the animal left out",
        lambda seed: _pair(renewal, seed),
        Lolcat.name,
        "0.845",
    ),
    "context": World(
        "Coupling to the population, calcium, 2 × 80 units, 240 s; the animal left out",
        _context,
        Neuprint.name,
        "0.773",
    ),
    "waveforms": World(
        "Five kinds of renewal process and of waveform, 2 × 90 units, 120 s; the animal left out",
        lambda seed: _pair(with_waveforms, seed),
        Nemo.name,
        "0.924",
        _PUBLISHED["waveforms"]["macro_f1"],
    ),
    "tuned": World(
        "Tuning to the side of a trial, 3 × 36 units, 120 trials; folds of the units",
        lambda seed: _tuned(seed)[0],
        Poyo.name,
        "0.692",
        target="tuning",
        protocol="transductive",
        behaviour=lambda seed: _tuned(seed)[1],
    ),
}


def real_worlds(data: Path) -> dict[str, World]:
    """Return small parts of the tasks on real recordings, as all systems are trained on each."""
    minutes = 3.0

    def of_task(task: str, *names: str) -> Callable[[int], Mapping[str, Any]]:
        def read(_: int) -> Mapping[str, Any]:
            found = TASKS[task].read(data).recordings
            return {name: _first(found[name], minutes) for name in names}

        return read

    rats_a = ("K265_2019_05_24_600s", "T181_2018_06_19_idle_bank1", "T219_2019_11_25_bank1")
    worms_g = ("2022-07-26-31", "2022-07-27-31", "TS20140715e", "TS20140926d")
    fish_f = tuple(f"fish{number:02d}" for number in range(1, 5))
    mouse = "cori_20161214"
    return {
        "a": World(
            "Rats: narrow against broad waveform (not shown), 3 rats, 3 min; the rat left out",
            of_task("a", *rats_a),
            target=LABEL,
            protocol="transductive_zero_shot",
        ),
        "c": World(
            "Rat T219: NAc or dmStr within a recording, 3 min; folds of the units",
            of_task("c", "T219_2019_11_19_bank0"),
            target=LABEL,
            protocol="transductive",
        ),
        "g": World(
            "Worms: class of the neuron, 2 + 2 worms, 3 min; the laboratory left out",
            of_task("g", *worms_g),
            target=LABEL,
            protocol="transductive_zero_shot",
            left_out=lambda name: "Kato" if name.startswith("TS") else "Flavell",
        ),
        "f": World(
            "Zebrafish: name of the region, 4 fish, 3 min; the fish left out",
            of_task("f", *fish_f),
            target=LABEL,
            protocol="transductive_zero_shot",
        ),
        "h": World(
            "Mouse (Steinmetz et al.): four groups of regions within a session; folds of the units",
            lambda _: {mouse: TASKS["h_steinmetz_within"].read(data).recordings[mouse]},
            target=LABEL,
            protocol="transductive",
            behaviour=lambda _: steinmetz_trials(data, [mouse]),
        ),
    }


def _first(units: Any, minutes: float) -> Any:
    """Return the first minutes of a recording."""
    start = float(units.time_support.start[0])
    return units.restrict(nap.IntervalSet(start, start + 60 * minutes))
