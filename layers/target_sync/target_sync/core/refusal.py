"""What cannot be done as it was asked for."""


class RefusalError(Exception):
    """The deployment cannot go on as asked.

    The message is one sentence that names the parameter and the remedy. It is what a person
    reads in the stack's events, so nothing is put in front of it.
    """
