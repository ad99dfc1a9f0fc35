"""Errors that a person can mend. Programs show them in one line, without a traceback
(`prnet.commands.terminal.run_script`).
"""


class UserError(Exception):
    """Bad input or a bad request: the message is one line that names the file, what is wrong and what to do.

    A setting is named as Python calls it, in back quotes: "lower `batch_size`". Programs put its flag in that place
    (`prnet.commands.terminal.FLAGS`), so that no library code knows a flag.
    """


class InputLost(UserError):
    """What a run reads was lost or cut short since it began: no single sample is to blame, so the run has to stop."""
