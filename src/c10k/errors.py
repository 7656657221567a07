"""The exception that is shown to a user, and how the system's own errors read within it."""


class UserError(Exception):
    """Something that the caller can correct; the message is one line that a person reads.

    It says what was wrong, where, and what to do next. The command line prints it and exits
    with code 2. A program that uses c10k as a library catches it.
    """


def os_reason(error: OSError) -> str:
    """What the system says, in lower case, as the end of a sentence: "permission denied"."""
    return (error.strerror or str(error)).lower()
