"""Errors that a user can fix. Programs show them in one line, without a traceback
(`prnet.commands.terminal.run_script`).
"""


class UserError(Exception):
    """Bad input or a bad request: the message is one line that names the file, what is wrong and what to do.

    A setting is named as Python calls it, in back quotes: "lower `batch_size`". Programs put its flag in that place
    (`prnet.commands.terminal.FLAGS`), so that no library code knows a flag.
    """


class InputLost(UserError):
    """What a run reads was lost or cut short since it began: no single sample is to blame, so the run has to stop."""


class OutOfMemory(UserError):
    """There was not enough memory; another time there may be."""


class LostProcess(UserError):
    """Another process of the same run does not answer; why is for that one to say."""


def in_one_line(error: Exception) -> str:
    """What is shown of an error, in one line."""
    if isinstance(error, OSError) and error.filename:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(str(error))


def printable(text: str) -> str:
    """A text with escapes for what would break its line or cannot be printed, as file names may hold it."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
