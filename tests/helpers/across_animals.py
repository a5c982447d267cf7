"""The score of embeddings in an animal that the probe was not trained on."""

import numpy as np
from sklearn.metrics import f1_score

from pynapple_nuclr.probes.default_estimator import default_estimator


def across_animals(vectors, recordings):
    """Macro F1 of a probe trained on one animal and tested on the others, mean over animals."""
    x = {name: np.nan_to_num(one) for name, one in vectors.items()}
    y = {name: np.asarray(units["cell_type"]) for name, units in recordings.items()}
    scores = []
    for trained in recordings:
        probe = default_estimator().fit(x[trained], y[trained])
        others = [name for name in recordings if name != trained]
        predicted = np.concatenate([probe.predict(x[name]) for name in others])
        labels = np.concatenate([y[name] for name in others])
        scores.append(f1_score(labels, predicted, average="macro"))
    return float(np.mean(scores))
