"""The probe: a scikit-learn classifier that also takes embedded pynapple objects."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from pynapple_nuclr.calibration import macro_f1_of_predictions, with_temperature
from pynapple_nuclr.columns import MISSING_LABELS, UNKNOWN, is_missing_label
from pynapple_nuclr.probe_score import ProbeScore
from pynapple_nuclr.probes.annotation import units_to_annotate, write_predictions
from pynapple_nuclr.probes.cross_validation import most_probable
from pynapple_nuclr.probes.fitting import fit_probe, new_estimators
from pynapple_nuclr.probes.inputs import (
    check_threshold,
    rows_to_predict,
    warn_of_other_labels,
    warn_of_training_units,
)
from pynapple_nuclr.probes.probe_card import chance_text, score_text
from pynapple_nuclr.probes.rows import Rows, labelled, warn_of_units_left_out
from pynapple_nuclr.probes.saving import ProbeFiles
from pynapple_nuclr.probes.training_recordings import warn_if_unlike
from pynapple_nuclr.recording import Units
from pynapple_nuclr.user_warnings import warn_user


def _gives_probabilities(probe: Probe) -> bool:
    fitted = getattr(probe, "estimator_", None)
    estimator = next(iter(new_estimators(probe).values())) if fitted is None else fitted
    return hasattr(estimator, "predict_proba")


class Probe(ProbeFiles, ClassifierMixin, BaseEstimator):
    """Predict a property of units (cell type, region, …): a scikit-learn classifier.

    Parameters
    ----------
    target : str
        Metadata column with the labels. Predictions go to ``predicted_<target>``.
    estimator : classifier, optional
        Default: ``StandardScaler`` and ``LogisticRegression(max_iter=1000)``, with ``C`` of 0.01,
        0.1, 1 or 10, and with ``class_weight="balanced"`` or without, whichever predict best out
        of fold: equal weights find rare classes that overlap with others, and are often wrong
        where they do not.
    inputs : {"auto", "embedding", "statistics", "both"}
        What describes a unit: its embedding, its `unit_statistics`, or both. "auto" takes the one
        whose out-of-fold predictions are best (the cross-validated score counts all choices: what
        predicts a fold is chosen by the predictions of the other folds). Arrays and results of
        `encode` hold no activity to compute statistics from: "auto" is then "embedding".
    features : sequence of str
        Numeric metadata columns (waveform width, depth) to join to them. With arrays they are the
        last columns of ``X``.
    standardize : {"none", "recording"}
        "recording": standardise the vectors within each recording, over all its embedded units,
        before the classifier. It reads no labels, but needs the population: predict whole
        recordings. Arrays count as one recording.
    prefix : str
        Prefix of the embedding's columns.
    missing_labels : collection of str
        Texts in the column that are no label, in any case (None and NaN never are one). Default:
        "", "nan", "unknown", "unclassified", "unassigned", "unlabeled", "unlabelled", "undefined",
        "n/a", "<na>", "null", "none", "-", "?", "root" and "void".
    threshold : float, optional
        Default of `annotate`: how sure a prediction has to be, or the unit is called "unknown".
    n_shuffles : int
        How often the labels are shuffled to compute chance: the macro F1 of the out-of-fold
        predictions against shuffled labels (1 or more).
    calibrate : bool
        Temperature scaling: one number, learnt from out-of-fold probabilities, makes the
        classifier as sure as it is right on the animals (recordings, units) that the folds leave
        out. It changes no prediction, only how sure of it the probe is.

    Attributes
    ----------
    classes_, class_shares_ : ndarray (classes,)
        The labels, sorted, and the share of each: 1 / classes where the default estimator
        weighs classes equally; else that of the training units.
    inputs_, cv_inputs_ : str, dict
        The inputs that are used; those tried, and the cross-validated macro F1 of each.
    encoder_ : str or None
        Who made the vectors of training, as name@hash (None: fitted on arrays;
        "unit_statistics"). Vectors of another encoder are refused.
    n_units_, n_features_in_, training_hashes_ : int, int, ndarray
        Units and columns of training; hashes of its embedded units.
    training_recordings_ : dict
        Of a probe of statistics alone: ``means`` (recordings, columns) and ``variance`` (columns,)
        within recordings, by which `annotate` refuses recordings unlike these. Else empty.
    cv_score_, cv_chance_, cv_chance_sd_ : float
        Cross-validated macro F1 of the pooled out-of-fold predictions; mean and standard
        deviation of the same if the labels are shuffled.
    cv_group_ : {"animal", "recording", "unit"}
        What the folds left out.
    cv_calibration_ : dict
        Of the out-of-fold probabilities, each calibrated by what has not seen its fold:
        ``ece`` and ``brier`` (and the same ``…_uncalibrated``), ``macro_f1`` and
        ``macro_f1_confident_half``, see `pynapple_nuclr.calibration`. Where calibration makes
        these probabilities less reliable it is left out, and ``ece_rejected`` says what ``ece``
        would have been. Empty if the estimator gives no probabilities.
    temperature_ : float
        What the logits are divided by: above 1 where the classifier itself is too sure; 1 without
        calibration.
    estimator_ : classifier
        Fitted on all labelled units; its own probabilities are not calibrated.

    Examples
    --------
    >>> import numpy as np, pynapple as nap
    >>> from pynapple_nuclr.columns import add_columns
    >>> from pynapple_nuclr.probes import Probe
    >>> cell_type = np.repeat(["PV", "SST"], 10)
    >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(20)},
    ...     time_support=nap.IntervalSet(0, 1), metadata={"cell_type": cell_type})

    In place of ``units = embed(units)``:

    >>> vectors = np.random.default_rng(0).normal(size=(20, 4)) + 4 * (cell_type == "PV")[:, None]
    >>> summary = {"nuclr_encoder": ["tiny@0a1b2c3d"] * 20}
    >>> units = add_columns(units, vectors=vectors, summary=summary)
    >>> probe = Probe("cell_type").fit(units)
    cell_type: macro F1 1.00 by unit (5 folds), chance 0.49 ± 0.12, 20 units
    expect less in other recordings and animals: the folds left out units
    inputs: embedding (before the choice: embedding 1.00, statistics 0.33, both 1.00)
    probabilities: not calibrated, 0.07 off on average (calibrated: 0.11)
    >>> units = probe.annotate(units)
    >>> pv = units[units["predicted_cell_type"] == "PV"]
    >>> len(pv)
    10
    """

    def __init__(
        self,
        target: str,
        *,
        estimator: Any = None,
        inputs: str = "auto",
        features: Any = (),
        standardize: str = "none",
        prefix: str = "nuclr",
        calibrate: bool = True,
        threshold: float | None = None,
        missing_labels: Collection[str] = MISSING_LABELS,
        n_shuffles: int = 100,
    ) -> None:
        self.target = target
        self.estimator = estimator
        self.inputs = inputs
        self.features = features
        self.standardize = standardize
        self.prefix = prefix
        self.calibrate = calibrate
        self.threshold = threshold
        self.missing_labels = missing_labels
        self.n_shuffles = n_shuffles

    @property
    def above_chance_(self) -> bool:
        """Whether the score is above chance by more than three standard deviations.

        If not, `fit` warns, and `annotate` calls every unit "unknown". Out-of-fold predictions of
        random labels scatter more than shuffled ones (two deviations: 10 % of random labels pass).
        A score of 1 of a few units counts if the 95 % interval of its accuracy is above chance.
        """
        check_is_fitted(self)
        return ProbeScore.of(self).above_chance

    def fit(
        self,
        recordings: Any,
        y: ArrayLike | None = None,
        *,
        animals: Any = None,
        verbose: bool = True,
    ) -> Probe:
        """Learn from labelled units, and cross-validate.

        Units without a label (None, NaN, `missing_labels`) or without an embedding are left out,
        counted in one warning. Another one is given if the score is not above chance. Folds leave
        out animals where there are at least two; else recordings where every class is in at least
        two of them; else units.

        Parameters
        ----------
        recordings : TsGroup, TsdFrame, Dataset, list or mapping, or array-like (units, columns)
            Embedded recordings, results of ``encode``, several of one kind as a list or a mapping
            name → object; or the matrix ``X``.
        y : array-like (units,), optional
            Labels of ``X``, or of one recording in place of its column `target`.
        animals : mapping, list or str, optional
            Recording name → animal, a list as long as the recordings, or the metadata column that
            names it. Default: the first of ``animal``, ``animal_id``, ``subject``,
            ``subject_id``, ``mouse_id``, ``rat_id`` that is filled in every recording.
            With ``X``: array-like (units,).
        verbose : bool
            Print the cross-validated score, and show a progress bar if it takes long.

        Returns
        -------
        Probe
            Itself.

        Raises
        ------
        ValueError
            If a column is not there, the vectors come from several encoders, or there are fewer
            than two classes, or than two units of a class.
        """
        n_folds = fit_probe(self, recordings, y, animals, progress=verbose)
        if verbose:
            print(score_text(self, n_folds))
        if not self.above_chance_:
            warn_user(f"{chance_text(self)}; annotate will write 'unknown'")
        return self

    def predict(self, recordings: Any) -> NDArray[Any]:
        """Predict the label of every unit: the most probable one, if there are probabilities.

        Parameters
        ----------
        recordings : as in `fit`

        Returns
        -------
        ndarray (units,)
            "unknown" for silent units.
        """
        rows = rows_to_predict(self, recordings)
        labels = np.full(len(rows.x), UNKNOWN, dtype=object)
        if rows.has_embedding.any():
            labels[rows.has_embedding] = most_probable(self.estimator_, rows.x[rows.has_embedding])
        if rows.has_embedding.all():
            return labels.astype(self.classes_.dtype)
        return labels.astype(str) if self.classes_.dtype.kind == "U" else labels

    @available_if(_gives_probabilities)
    def predict_proba(self, recordings: Any) -> NDArray[np.float64]:
        """Return the (calibrated) probability of each class for every unit.

        Parameters
        ----------
        recordings : as in `fit`

        Returns
        -------
        ndarray (units, classes)
            In the order of ``classes_``; NaN for silent units.

        Examples
        --------
        >>> from pynapple_nuclr.probes import Probe
        >>> x, layers = [[0.0], [0.1], [1.0], [1.1]], ["L4", "L4", "L5", "L5"]
        >>> probe = Probe("layer").fit(x, layers, verbose=False)
        >>> probe.predict_proba([[0.2]]).round(1)
        array([[0.8, 0.2]])
        """
        return self._probabilities(rows_to_predict(self, recordings))

    def _probabilities(self, rows: Rows) -> NDArray[np.float64]:
        probabilities = np.full((len(rows.x), len(self.classes_)), np.nan)
        if rows.has_embedding.any():
            own = self.estimator_.predict_proba(rows.x[rows.has_embedding])
            probabilities[rows.has_embedding] = with_temperature(own, self.temperature_)
        return probabilities

    def score(self, recordings: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the macro F1, not the accuracy: classes of neurons are rarely balanced.

        Parameters
        ----------
        recordings, y : as in `fit`
            A warning counts units without a label or an embedding, which are left out; another
            one those that the probe learned from.
        sample_weight : array-like (units,), optional
            Weights of all units given.

        Returns
        -------
        float
            F1 averaged over the classes that occur in the labels or in the predictions.

        Examples
        --------
        >>> from pynapple_nuclr.probes import Probe
        >>> x, layers = [[0.0], [0.1], [1.0], [1.1]], ["L4", "L4", "L5", "L5"]
        >>> probe = Probe("layer").fit(x, layers, verbose=False)
        >>> probe.score([[0.2], [0.9], [1.2]], ["L4", "L5", "L5"])
        1.0
        """
        rows = rows_to_predict(self, recordings, y, with_target=True)
        if sample_weight is not None:
            check_consistent_length(rows.labels, sample_weight)
            sample_weight = np.asarray(sample_weight)[
                rows.has_embedding & ~is_missing_label(rows.labels, self.missing_labels)
            ]
        warn_of_units_left_out(rows, self.target, self.missing_labels)
        rows = labelled(rows, self.target, self.missing_labels)
        warn_of_training_units(self, rows)
        warn_of_other_labels(self, rows.labels)
        predicted = most_probable(self.estimator_, rows.x)
        return macro_f1_of_predictions(rows.labels, predicted, sample_weight=sample_weight)

    def annotate(
        self,
        units: Units,
        threshold: float | None = None,
        probabilities: bool = False,
        encoder: Any = None,
        force: bool = False,
        **embedding: Any,
    ) -> Units:
        """Write predictions as metadata columns.

        Parameters
        ----------
        units : TsGroup or TsdFrame
            One recording; never changed. If it is not embedded, it is embedded first, with the
            encoder that made this probe's training vectors.
        threshold : float, optional
            Units whose confidence is not so far above a guess are called "unknown": 0 is as sure
            as the share of the predicted class (``class_shares_``), 1 is certain. With two
            equal classes, 0.5 asks for a probability of 0.75. Default: that of the probe.
        probabilities : bool
            Also write ``predicted_<target>_p_<class>``.
        encoder : Encoder or str, optional
            That encoder, where it is neither the bundled one nor used in this process before.
        force : bool
            Write the predictions of a probe whose score is not above chance, and those for a
            recording whose statistics are unlike those of the training recordings; else all
            its units are called "unknown".
        **embedding
            Options of `embed` for units that are not embedded: ``gaps``, ``epochs``, ``device``,
            ``precision``, ``progress``, ``name``. A probe of statistics reads ``epochs``.

        Returns
        -------
        TsGroup or TsdFrame
            With ``predicted_<target>`` (strings) and ``predicted_<target>_confidence``, the
            highest class probability. Silent units: "unknown" and NaN. Behind them
            ``predicted_<target>_probe``, the score of the probe in words, and
            ``predicted_<target>_training`` (bool): whether the probe learned from the unit, so that
            its label says nothing of new ones; not written by probes fitted on arrays.

        Raises
        ------
        ValueError
            If the vectors come from another encoder than `encoder` or those of training, the
            estimator gives no probabilities, or `embedding` would change vectors that are there.

        Examples
        --------
        In place of ``units = embed(units)``:

        >>> import pynapple as nap
        >>> from pynapple_nuclr.columns import add_columns
        >>> units = nap.TsGroup({i: nap.Ts([0.1, 0.9]) for i in range(4)},
        ...     metadata={"layer": ["L4", "L4", "L5", "L5"]})
        >>> units = add_columns(units, vectors=[[0.0], [0.4], [1.0], [1.4]],
        ...     summary={"nuclr_encoder": ["tiny@0a1b2c3d"] * 4})
        >>> probe = Probe("layer").fit(units, verbose=False)
        >>> print(*probe.annotate(units, threshold=0.4)["predicted_layer"])
        L4 unknown unknown L5
        """
        check_is_fitted(self)
        threshold = self.threshold if threshold is None else threshold
        check_threshold(threshold)
        if not hasattr(self, "predict_proba"):
            raise ValueError(
                f"{self.estimator_!r} gives no probabilities; wrap it in scikit-learn's "
                "CalibratedClassifierCV"
            )
        units = units_to_annotate(self, units, encoder, embedding)
        rows = rows_to_predict(self, units, epochs=embedding.get("epochs"))
        values = self._probabilities(rows)
        if not (force or self.above_chance_):
            warn_user(
                f"{chance_text(self)}; all units are called 'unknown' (force=True writes the "
                "predictions)"
            )
            threshold = np.inf
        elif not force and warn_if_unlike(self, rows):
            threshold = np.inf
        if self.target in units.metadata_columns:
            warn_of_other_labels(self, units[self.target])
        is_training = rows.are_among(self.training_hashes_)
        return write_predictions(
            self,
            units,
            values,
            is_training if len(self.training_hashes_) else None,
            threshold,
            probabilities,
        )
