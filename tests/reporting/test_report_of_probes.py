"""What a page says of the probe that predicted its labels."""

import numpy as np
import pytest
from command_line import error_of, run
from embedded_groups import embedded, fitted
from report_pages import cautions_of, page_of, string_values

from pynapple_nuclr.nwb.writing import write_units
from pynapple_nuclr.probes import Probe
from pynapple_nuclr.reporting import report


def test_the_score_of_the_probe_is_shown_beside_chance(tmp_path):
    probe = fitted()
    units = probe.annotate(embedded(30, seed=7))
    score = (
        f"Probe, macro F1 {probe.cv_score_:.2f} by unit; chance {probe.cv_chance_:.2f} ± "
        f"{probe.cv_chance_sd_:.2f}"
    )
    of_older = fitted().annotate(units)
    of_older.drop_info("predicted_cell_type_probe")
    for page in (page_of(units, tmp_path), page_of(of_older, tmp_path, probe=probe)):
        assert score in string_values(page)
        assert "not known to this page" not in " ".join(cautions_of(page))
    assert "not known to this page" in cautions_of(page_of(of_older, tmp_path))[0]
    with pytest.raises(ValueError, match="probe predicts 'cell_type', but the page shows 'other'"):
        report(embedded(30, other=["a"] * 30), tmp_path / "p.html", target="other", probe=probe)


def test_the_score_of_another_probe_is_not_shown_beside_labels(tmp_path):
    units = fitted().annotate(embedded(30, seed=7))
    other = fitted(standardize="recording", inputs="statistics")
    with pytest.raises(ValueError, match="'page' was labelled by a probe of another score"):
        page_of(units, tmp_path, probe=other)
    write_units(units, tmp_path / "units.nwb")
    other.save(tmp_path / "other.skops")
    result = run("report", tmp_path / "units.nwb", "--probe", tmp_path / "other.skops")
    assert "leave out --probe, or annotate the units with it" in error_of(result)


def test_a_score_of_other_units_is_not_that_of_another_recording(tmp_path):
    learned, other = (fitted().annotate(embedded(30, seed=seed)) for seed in (0, 7))
    said = "expect less in other recordings and animals, of which this may be one"
    assert said in cautions_of(page_of(other, tmp_path))[0]
    assert said not in " ".join(cautions_of(page_of(learned, tmp_path)))
    other["predicted_cell_type_probe"] = ["macro F1 0.97 by animal, chance 0.33 ± 0.04"] * 30
    assert "expect less" not in " ".join(cautions_of(page_of(other, tmp_path)))


def test_a_recording_in_which_no_unit_has_a_label_may_have_been_refused(tmp_path):
    def cautions(threshold):
        annotated = fitted().annotate(embedded(30, seed=7), threshold=threshold)
        return " ".join(cautions_of(page_of(annotated, tmp_path)))

    assert "or it refused the recording as unlike those that it learned from" in cautions(1)
    assert "not sure enough." in cautions(0.9)


def test_the_command_names_options_that_exist(tmp_path):
    write_units(embedded(30), tmp_path / "units.nwb")
    probe = Probe("kind", n_shuffles=1)
    with pytest.warns(UserWarning, match="not above chance"):
        probe.fit(embedded(30), np.random.default_rng(3).permutation(["a", "b"] * 15))
    probe.save(tmp_path / "kind.skops")
    said = run("report", tmp_path / "units.nwb", "--probe", tmp_path / "kind.skops").stderr
    assert "(probe annotate --force writes the predictions)" in said


def test_a_probe_of_random_labels_is_said_to_mean_nothing(tmp_path):
    units = embedded(60)
    units["kind"] = np.random.default_rng(3).permutation(["VIP", "SST"] * 30)
    with pytest.warns(UserWarning, match="not above chance"):
        probe = Probe("kind").fit(units, verbose=False)
    with pytest.warns(UserWarning, match="not above chance"):
        annotated = probe.annotate(units)
    with pytest.warns(UserWarning, match="mean nothing"):
        page = page_of(annotated, tmp_path, target="kind")
    assert "mean nothing" in cautions_of(page)[0]
    assert "60 of 60 units are training units" in " ".join(cautions_of(page))
    # A file says the same, with and without the probe.
    write_units(annotated, tmp_path / "units.nwb")
    probe.save(tmp_path / "kind.skops")
    for options in ((), ("--probe", tmp_path / "kind.skops", "--overwrite")):
        out = tmp_path / "from_file.html"
        result = run("report", tmp_path / "units.nwb", "-o", out, *options)
        assert "mean nothing" in result.output
        cautions = cautions_of(out.read_text(encoding="utf-8"))
        assert "mean nothing" in cautions[0]
        assert "60 of 60 units are training units" in " ".join(cautions)
