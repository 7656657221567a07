"""The one exception that a user is to read: one line that says what, where and what to do next."""


class UserError(Exception):
    """Something that whoever called can mend; the message is one line for a person.

    The command line prints it and exits with code 2. Whoever uses c10k as a library catches it.
    """
