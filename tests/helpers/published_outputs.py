"""Outputs that the published code (Apache-2.0) computed with random weights."""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "reference"


def read_published(name):
    data = np.load(FOLDER / f"{name}.npz")
    state = {key[6:]: data[key] for key in data.files if key.startswith("state.")}
    return data, state, json.loads(str(data["config"]))
