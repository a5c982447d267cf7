"""What comes with the package: where its encoders and probes lie."""

from pathlib import Path

_WEIGHTS = Path(__file__).parent / "weights"

ENCODERS = {name: _WEIGHTS / name for name in ("rats", "spikes", "calcium")}
"""Name → folder of an encoder."""

PROBES = {"waveform-type": _WEIGHTS / "waveform-type" / "probe.skops"}
"""Name → file of a probe; its card lies beside it."""
