"""Errors that a person can mend, and how scripts show them: one line, no traceback."""

import os
import sys


class UserError(Exception):
    """Bad input or a bad request: the message is one line that names the file, what is wrong and what to do."""


class InputLost(UserError):
    """What a run reads was lost or cut short since it began: no single sample is to blame, so the run has to stop."""


def run_script(main) -> None:
    """Run a script's `main()` and exit with the status it returns (None is 0).

    A `UserError` or an error of the operating system is printed as one line and exits with status 2; an interrupt
    from the keyboard exits with 130. TensorFlow's remarks on its own build are kept from the terminal.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        sys.exit(main())
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
