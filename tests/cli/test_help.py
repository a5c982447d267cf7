"""The help of every command: its examples run, and its defaults are those of the functions."""

from __future__ import annotations

import glob
import inspect
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
import typer
from command_line import run
from evaluation_systems import recording as labelled_recording
from typer.core import TyperArgument

import pynapple_nuclr
from pynapple_nuclr.checkpoints import Encoder, save_encoder
from pynapple_nuclr.cli import app
from pynapple_nuclr.demo import run_demo
from pynapple_nuclr.embedding import embed
from pynapple_nuclr.evaluation import evaluate
from pynapple_nuclr.nwb.writing import write_nwb, write_units
from pynapple_nuclr.pretraining import pretrain
from pynapple_nuclr.probes import Probe
from pynapple_nuclr.reporting import report


def commands(group=None, name=""):
    """Yield the name of every command with its text."""
    for one, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name}{one} ")
        else:
            yield f"{name}{one}", command.help


def examples(text):
    """Return the examples of a help text, as lists of words."""
    lines = re.sub(r"\[/?bold\]|Examples?|: ", " ", text).splitlines()
    calls = [line.strip() for line in lines if line.strip().startswith("nap-nuclr ")]
    return [shlex.split(line)[1:] for line in calls]


@pytest.mark.parametrize("command", [name for name, _ in commands()])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_examples(command, option):
    result = run(*command.split(), option)
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"nap-nuclr {command}" in result.stdout.split("Example")[1]


@pytest.fixture(scope="module")
def example_folder(tiny_config, tmp_path_factory):
    """The files that the examples of the help name."""
    folder = tmp_path_factory.mktemp("examples")
    torch.manual_seed(0)
    model = Encoder(tiny_config, name="tiny")
    save_encoder(model, folder / "my_encoder")
    for part in ("data", "labelled"):
        (folder / part).mkdir()
    embedded = []
    for seed, animal in enumerate(("m0", "m1")):
        units = labelled_recording(seed=seed, n=24, animal=animal)
        units.set_info(brain_area=units["cell_type"], mouse=units["animal"])
        source = write_units(units, folder / f"mouse{seed}.nwb")
        shutil.copy(source, folder / "data")
        embedded.append(embed(units, model, progress=False))
        write_nwb(embedded[-1], source, folder / "labelled" / source.name)
    for name in ("session.nwb", "day1.nwb"):
        shutil.copy(source, folder / name)
    write_nwb(embedded[-1], source, folder / "session_nuclr.nwb")
    write_nwb(embedded[-1], source, folder / "out.nwb")
    Probe("cell_type").fit(embedded, verbose=False).save(folder / "cell_type.skops")
    return folder


EXAMPLES = [call for _, text in commands() for call in examples(text)]


@pytest.mark.slow
@pytest.mark.parametrize("call", EXAMPLES, ids=" ".join)
def test_every_example_of_the_help_runs(call, example_folder, tmp_path, monkeypatch):
    work = tmp_path / "work"
    shutil.copytree(example_folder, work)
    monkeypatch.chdir(work)
    monkeypatch.setattr("pynapple_nuclr.demo.run_demo", quick(run_demo))
    monkeypatch.setattr("pynapple_nuclr.pretraining.pretrain", quick(pretrain))
    monkeypatch.setattr("pynapple_nuclr.evaluation.evaluate", quick(evaluate))
    words = [path for word in call for path in (sorted(glob.glob(word)) or [word])]  # as a shell
    monkeypatch.setattr("webbrowser.open", lambda address: address.endswith(".html"))
    if not {"demo", "evaluate", "info", "pretrain", "view"} & set(call):
        words.append("--overwrite")
    result = run(*words)
    assert result.exit_code == 0, result.output


QUICK = {
    "run_demo": {"n_units": 24, "duration": 40, "minutes": 0},
    "pretrain": {"max_minutes": None, "steps": 1, "batch_size": 2},
    "evaluate": {"systems": ["statistics"], "n_shuffles": 1},
}


def quick(function):
    """Return a function that does little, whatever the example says."""

    def little(*arguments, **options):
        return function(*arguments, **(options | QUICK[function.__name__]))

    return little


def test_the_examples_are_found():
    assert ["embed", "session.nwb"] in EXAMPLES and ["info"] in EXAMPLES
    assert len(EXAMPLES) >= 14


@pytest.mark.parametrize(
    ("wrong", "right"), [(["emded"], "'embed'"), (["embed", "--encodr", "x"], "--encoder")]
)
def test_misspelt_commands_and_options_are_named_with_similar_ones(wrong, right):
    result = run(*wrong)
    assert result.exit_code == 2
    assert right in result.stderr


def test_the_package_is_a_command():
    command = [sys.executable, "-m", "pynapple_nuclr", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"nap-nuclr {pynapple_nuclr.__version__}\n"


@pytest.mark.parametrize("command", [[], ["probe"]])
def test_without_a_command_there_is_help(command):
    result = run(*command)
    assert result.exit_code == 2
    assert "Example" in result.output


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"nap-nuclr {pynapple_nuclr.__version__}\n")


FUNCTIONS = {
    "embed": [embed],
    "pretrain": [pretrain],
    "probe fit": [Probe.__init__, embed],
    "probe annotate": [Probe.annotate, embed],
    "evaluate": [evaluate, embed],
    "report": [report],
    "view": [report],
    "demo": [run_demo],
}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_defaults_in_the_help_are_those_of_the_functions(command):
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]
    compared = 0
    for option in found.params:
        for function in FUNCTIONS[command]:
            parameter = inspect.signature(function).parameters.get(option.name)
            if parameter is None or option.default is not None or isinstance(option, TyperArgument):
                continue
            if parameter.default not in (None, parameter.empty, ()):
                default = option.name if parameter.default is True else parameter.default
                assert option.help.endswith(f"(default: {default})."), option.name
                compared += 1
    assert compared


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from pynapple_nuclr.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *({'torch', 'pynwb', 'pynapple', 'sklearn'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.rsplit("LOADED", 1)[1].split() == []
