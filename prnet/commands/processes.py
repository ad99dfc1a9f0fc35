"""One run in several processes: they are started and watched by the program, and one that ends early ends the run."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeAlias

from prnet.commands.terminal import log_on_terminal
from prnet.common.errors import LostProcess, UserError, in_one_line

SECONDS_FOR_THE_CAUSE = 10
"""How long a process that lost another one waits for that one's own reason, where it runs here too."""

RESUMES = "the same command resumes after the last finished epoch"

Children: TypeAlias = dict[Connection, tuple[int, BaseProcess]]
"""Numbered processes, by where their outcomes are read."""


def run_processes(target: Callable, arguments: tuple, numbers: Sequence[int], count: int) -> None:
    """Call `target(*arguments, number)` in a process for each of the numbers, of a run of `count` in all.

    Raises UserError, in one line, where one of them ends early: what it could not do, or which signal ended it. The
    others on this machine are ended then, and so are all of them if this process ends.
    """
    os.environ["PYTHONWARNINGS"] = f"ignore:resource_tracker,{os.environ.get('PYTHONWARNINGS', '')}"  # of killed ones
    context = multiprocessing.get_context("spawn")
    children: Children = {}
    try:
        for number in numbers:
            outcome, sender = context.Pipe(duplex=False)
            child = context.Process(target=_child, args=(target, arguments, number, sender))
            child.start()
            sender.close()
            children[outcome] = (number, child)
        problem = _first_problem(children, count)
    finally:
        for _, started in children.values():
            started.kill()
            started.join()
    if problem:
        raise UserError(problem)


def _first_problem(children: Children, count: int) -> str | None:
    """Wait for all, or for the first that ends early and knows why."""
    waiting, lost = dict(children), ""
    while waiting:
        ended = wait(list(waiting), SECONDS_FOR_THE_CAUSE if lost else None)
        if not ended:
            break
        for outcome in [each for each in waiting if each in ended]:
            number, child = waiting.pop(outcome)
            try:
                kind, text = outcome.recv()
            except EOFError:
                child.join()
                return f"process {number} of {count} {_ending(child.exitcode)}; {RESUMES}"
            if kind == "problem":
                return text
            if kind == "lost":
                lost = lost or text
    return lost or None


def _ending(code: int | None) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"


def _child(target: Callable, arguments: tuple, number: int, outcome: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is told, and ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with log_on_terminal(logging.INFO if number == 0 else logging.WARNING):
        kind, text = _outcome(target, arguments, number)
    outcome.send((kind, text))
    if kind != "done":
        os._exit(1)  # without JAX's farewell, which waits for processes that have gone


def _outcome(target: Callable, arguments: tuple, number: int) -> tuple[str, str]:
    try:
        target(*arguments, number)
    except LostProcess as error:
        return "lost", in_one_line(error)
    except (UserError, OSError) as error:
        return "problem", in_one_line(error)
    except BaseException:
        traceback.print_exc()
        return "problem", f"process {number} failed, as said above"
    return "done", ""


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def loopback_address() -> str:
    """A free port of this machine alone, where its processes find each other."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"
