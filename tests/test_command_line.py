"""The command `prnet` and its subcommands: spellings, help, silence, and what a person is told to do next."""

import argparse
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prnet.commands import run
from prnet.commands.flags import Parser
from prnet.common.errors import UserError
from prnet.common.quiet import without_remarks
from prnet.configure import programs
from prnet.configure.programs import PROGRAMS, command

ROOT = Path(__file__).resolve().parents[1]
KEBAB = re.compile(r"--[a-z0-9]+(-[a-z0-9]+)*")

USERS_FLAGS = {
    "reconstruct": "--model --image --outputdir --detector --mirrored --bbox --landmarks --fit --facemodel --mat "
    "--frontal --texture --overlay --smooth",
    "serve": "-m --model --host --port --facemodel --detector --mirrored --batchsize",
    "train": "--recipe --network --imagesize --head --lossfunct --epochs --steps --batchsize --learningrate "
    "--dropfactor --dropevery --dropunit --precision --seed --model --start_epoch --hdf5dir --facemodel --outputdir "
    "--overwrite --report-test --workers --devices --jit --serverlog",
    "evaluate": "--modeldir --model --predictions --compare --hdf5 --datadir --facemodel --landmarkfile --yawfile "
    "--evalidxs --protocol --shiftZ --zorigin --outputdir --save-predictions --with-vertices --name --batchsize "
    "--serverlog",
    "build-dataset": "--zipDir --extractdir --hdf5dir --buildmode --datamode --facemodel --batch --bufsize --workers "
    "--extenddata --no-flips --overwrite",
    "build-face-model": "--bfm --sample --expression --info --uv --uv-data --output",
    "make-profile-views": "--extractdir --zipDir --outputdir --maxyaw --yawstep --maxpitch --views --fitshift "
    "--facemodel --workers --seed",
    "make-sample-data": "--outdir --train --val --seed --workers --sheet",
    "export": "--model --format --from-prnet-checkpoint --quantize --images --uv-data --output",
}
"""Every flag that the scripts took before they had one style."""


def module(name: str):
    return importlib.import_module(f"prnet.commands.{PROGRAMS[name]}")


def actions(name: str) -> list[argparse.Action]:
    return module(name).make_parser()._actions


def prnet(*arguments, cwd=ROOT, **environment) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-m", "prnet", *map(str, arguments)],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_flag_has_one_spelling_in_kebab_case_and_it_comes_first(name):
    for action in actions(name):
        long = [spelling for spelling in action.option_strings if spelling.startswith("--")]
        if long:
            assert KEBAB.fullmatch(long[0])
            assert len(long) <= 2
            assert action.dest == long[0][2:].replace("-", "_")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_users_own_flags_keep_working(name):
    taken = {spelling for action in actions(name) for spelling in action.option_strings}
    assert taken >= set(USERS_FLAGS.get(name, "").split())


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_explains_every_flag_and_shows_its_default(name):
    for action in actions(name):
        text = Parser("", "")._get_formatter()._expand_help(action)
        assert text
        if action.default not in (None, False, argparse.SUPPRESS) and action.option_strings:
            assert "default" in text


def test_help_shows_what_the_recipes_say(capsys):
    from prnet.configure.recipes import RECIPES

    with pytest.raises(SystemExit):
        module("train").main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert " ".join(["recipes", *RECIPES]) in said
    assert "--drop-every " + " ".join(str(recipe().drop_every) for recipe in RECIPES.values()) in said
    assert f"step size at the start (default: {RECIPES['default']().learning_rate}, or the recipe's)" in said


def test_two_spellings_of_one_flag_do_not_make_its_abbreviation_ambiguous():
    parser = module("train").make_parser()
    assert parser.parse_args(["--hdf5", "x", "--learning", "0.5"]).learning_rate == 0.5
    with pytest.raises(SystemExit):
        parser.parse_args(["--hdf5", "x", "--drop", "2"])


def test_photos_may_stand_before_and_after_flags():
    parser = module("reconstruct").make_parser()
    options = parser.parse_intermixed_args(["a.jpg", "--outputdir", "out", "b.jpg", "folder", "--image", "c.jpg"])
    assert (options.inputs, options.image, options.output_dir) == (["a.jpg", "b.jpg", "folder"], "c.jpg", "out")


def test_nothing_to_reconstruct_is_said(capsys):
    with pytest.raises(SystemExit, match="2"):
        module("reconstruct").main([])
    assert "name a photo, a video or a folder" in capsys.readouterr().err


def test_help_lists_the_programs_and_loads_nothing_heavy():
    code = "import sys\nfrom prnet.commands.run import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print(sorted({'numpy', 'cv2', 'h5py', 'keras', 'tensorflow'} & set(sys.modules)))"
    for arguments in ([], *([name] for name in PROGRAMS)):
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert result.stdout.endswith("[]\n"), result.stderr
        assert result.stdout.startswith(f"usage: prnet{' ' * bool(arguments)}{''.join(arguments)} [-h]")
        assert arguments or all(f"\n  {name} " in result.stdout for name in PROGRAMS)


def test_a_command_that_is_none():
    result = prnet("reconstrut")
    assert result.returncode == 2
    assert "choose from" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_extra_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "prnet.serving.server", raising=False)
    with pytest.raises(UserError, match=r"needs uvicorn; install it by pip install 'prnet\[server\]'"):
        run.main(["serve"])


def test_advice_is_right_where_it_is_read(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert command("train") == "train_model.py"
    monkeypatch.chdir(tmp_path)
    assert Path(command("train")).samefile(ROOT / "train_model.py")
    monkeypatch.setattr(programs, "CHECKOUT", None)
    assert command("train") == "prnet train"


def test_every_program_has_its_script():
    for name, script in PROGRAMS.items():
        assert f"from prnet.commands.{script} import main" in (ROOT / f"{script}.py").read_text(encoding="utf-8")
        assert module(name).__doc__


def test_the_face_model_may_lie_anywhere(tmp_path):
    result = prnet("build-face-model", "--help", cwd=tmp_path, PRNET_FACE_MODEL="elsewhere/face.hdf5")
    assert "(default: elsewhere/face.hdf5)" in " ".join(result.stdout.split())
    result = prnet("train", "--hdf5-dir", tmp_path, cwd=tmp_path)
    assert result.returncode == 2
    assert f"{ROOT / 'resource' / 'face_model.hdf5'}: no such face model; make one with" in result.stderr
    assert f"{ROOT / 'build_face_model.py'}, or name another one, for good by PRNET_FACE_MODEL" in result.stderr


REMARKS = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795603143.693242   15600 port.cc:153] oneDNN custom operations are on.",
    "W0000 00:00:1795603143.693242   15600 gpu_device.cc:1] Cannot dlopen some GPU libraries.",
    "E0000 00:00:1795603145.238666   15600 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
    "To enable the following instructions: AVX2 AVX512F, in other operations, rebuild TensorFlow",
)
ERRORS = (
    "E0000 00:00:1795603145.238666   15600 gpu_device.cc:9] out of memory",
    "RuntimeError: module compiled against another ABI",
)


def test_remarks_are_held_back_and_errors_are_not(capfd):
    with without_remarks():
        for line in (*REMARKS[:3], *ERRORS, *REMARKS[3:]):
            os.write(2, f"{line}\n".encode())
    os.write(2, b"after\n")
    assert capfd.readouterr().err.splitlines() == [*ERRORS, "after"]


def test_an_error_lets_everything_through(capfd):
    def fail():
        with without_remarks():
            os.write(2, f"{REMARKS[0]}\n".encode())
            raise ImportError("broken")

    pytest.raises(ImportError, fail)
    assert capfd.readouterr().err.splitlines() == [REMARKS[0]]


def test_keras_starts_in_silence():
    """Also with standard error closed, and with TensorFlow's own variable not set."""
    code = "from prnet.common.quiet import start_keras; start_keras(); import keras; keras.ops.ones(2)"
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    for closing in ("", " 2>&-"):
        result = subprocess.run(
            f"{sys.executable} -c '{code}'{closing}",
            shell=True,
            cwd=ROOT,
            env=kept,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0
        assert result.stderr == ""
