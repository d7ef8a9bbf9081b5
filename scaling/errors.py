"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """A mistake in what the user gave: a value, a file, a folder.

    Its message is one line that says what is wrong, where, and what would be
    valid. The command line prints it without a traceback and exits with 2.
    """
