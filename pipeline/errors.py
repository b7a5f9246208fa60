"""Errors that are part of the interface: one line that says what, where, the value received and the mend."""


class GatecastError(Exception):
    """A mistake that the user can mend. Its text is one line; no traceback is shown for it."""


class ParamsError(GatecastError):
    """A value in params.yaml that is not allowed."""


class DataError(GatecastError):
    """Input data that cannot be used, with a stable code.

    Args:
        code: the code of the check, as listed in the README, e.g. `time-unparseable`.
        message: what is wrong, where (file, row, column), the value received, and the mend.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code


class BundleError(GatecastError):
    """A bundle or an export that is missing, incomplete or altered, or does not forecast what it should."""
