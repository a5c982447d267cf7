"""Units that fire at the same times are found; independent ones are not."""

import numpy as np
import pynapple as nap
import pytest

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.leakage import duplicates, find_duplicate_units

RNG = np.random.default_rng(0)


def poisson(rate, seconds=600, rng=RNG):
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))


def population(trains, seconds=600):
    trains = {unit: nap.Ts(np.sort(times)) for unit, times in trains.items()}
    return nap.TsGroup(trains, time_support=nap.IntervalSet(0, seconds))


def brute_force(a, b, within=5e-4 + 1e-9):
    few, many = sorted((a, b), key=len)
    return np.mean([(np.abs(many - one) <= within).any() for one in few])


def test_shares_equal_a_comparison_of_all_spikes(monkeypatch):
    monkeypatch.setattr(duplicates, "_BLOCK", 700)  # pairs across the borders of blocks, too
    trains = {unit: poisson(rate, 60) for unit, rate in enumerate((2, 5, 9, 20, 60))}
    for unit, (of, kept) in {10: (2, 0.5), 11: (3, 0.25), 12: (4, 0.9)}.items():
        some = trains[of][RNG.random(len(trains[of])) < kept]
        trains[unit] = np.sort(
            np.concatenate([some + RNG.normal(0, 2e-4, len(some)), poisson(3, 60)])
        )
    units = population(trains, 61)
    found = {(a, b): share for a, b, share in find_duplicate_units(units, share=0.02)}
    ids = list(units.index)
    expected = {
        (a, b): share
        for i, a in enumerate(ids)
        for b in ids[i + 1 :]
        if (share := brute_force(units[a].t, units[b].t)) >= 0.02
    }
    assert found == pytest.approx(expected)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_unit_that_was_sorted_twice_is_found_among_independent_ones():
    trains = {unit: poisson(RNG.gamma(2, 4)) for unit in range(20)}
    half = trains[4][::2] + 3e-4
    trains[30] = np.concatenate([half, poisson(len(half) / 600)])  # half its spikes are unit 4's
    units = population(trains, 601)
    (pair,) = find_duplicate_units(units)
    assert pair[:2] == (4, 30) and 0.3 < pair.share < 1
    assert find_duplicate_units(units, share=1.0) == []
    order = np.random.default_rng(1).permutation(units.index)
    shuffled = nap.TsGroup({i: units[unit] for i, unit in enumerate(order)})
    again = find_duplicate_units(shuffled)
    assert {order[unit] for unit in again[0][:2]} == {4, 30} and again[0].share == pair.share


def test_one_burst_beside_one_spike_is_one_coincidence():
    times = np.arange(1.0, 101.0)
    bursts = np.concatenate([times[:20] + step for step in (1e-4, 2e-4, 3e-4)])
    assert find_duplicate_units(population({0: times, 1: np.append(bursts, times + 0.5)})) == []


def test_units_of_few_spikes_and_exact_half_milliseconds():
    times = np.arange(1.0, 31.0)
    near, far = times + 15 / 30_000, times + 16 / 30_000
    few = population({0: times, 1: near[:9]})
    assert find_duplicate_units(few) == []
    assert len(find_duplicate_units(population({0: times, 1: near}))) == 1
    assert find_duplicate_units(population({0: times, 1: far})) == []
    assert find_duplicate_units(population({0: times, 1: times[:0]})) == []


def test_copied_traces_are_found():
    traces = nap_nuclr.simulate("single", n_units=4, duration=60, modality="calcium")
    values = np.column_stack([traces.values, traces.values[:, 2]])
    copied = nap.TsdFrame(traces.t, values, columns=[3, 1, 8, 5, 9])
    assert find_duplicate_units(copied) == [(8, 9, 1.0)]
    assert find_duplicate_units(traces) == []


@pytest.mark.parametrize("wrong", [{"share": 0}, {"share": 1.5}, {"within": -1}])
def test_arguments_out_of_range(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}={value}; expected"):
        find_duplicate_units(population({0: poisson(5)}), **wrong)
