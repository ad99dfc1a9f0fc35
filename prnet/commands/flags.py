"""What the command lines of all programs have in common: how they are parsed, and what their help and last line say."""

import argparse
import os
import sys

from prnet.configure.programs import PROGRAMS


class Parser(argparse.ArgumentParser):
    """A parser whose help shows every default, and whose examples call programs as this one was called.

    epilog : {train} in it becomes `prnet train`, or `python train_model.py` where a script was called.

    Every flag's first spelling is kebab-case; a second one is older and keeps working.
    """

    def __init__(self, description: str, epilog: str):
        program = os.path.basename(sys.argv[0])
        for name, script in PROGRAMS.items():
            called = f"prnet {name}" if program.startswith("prnet ") else f"python {script}.py"
            epilog = epilog.replace(f"{{{name}}}", called)
        super().__init__(prog=program, description=description, epilog=epilog, formatter_class=_Help)

    def _get_option_tuples(self, option_string):
        """Abbreviations: two spellings of one flag are no ambiguity (Python 3.11 takes them for one)."""
        return list({found[0]: found for found in super()._get_option_tuples(option_string)}.values())


class _Help(argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action):
        if action.default in (None, False, argparse.SUPPRESS) or "default" in action.help or not action.option_strings:
            return action.help
        return f"{action.help} (default: %(default)s)"


def at_least_one(text: str) -> int:
    """A whole number of 1 or more, for `type=`."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError("must be a whole number of 1 or more")
    return int(text)


def say_what_to_open(path) -> None:
    """The last line of a program that has written something: the one file to open, or to hand on, first."""
    print(f"open: {path}", flush=True)
