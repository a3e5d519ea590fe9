"""Passwords in what is shown and written: there are none."""

import re


def masked(text: str) -> str:
    """Return a storage's URL, or a word of a command line that has one, without its password.

    A password is `***`; `${VAR}` stays, as it says where the password is and not what it is.
    """
    if "://" in text:
        text = re.sub(r"(://[^:/]*:)(?!\$\{\w+\}@)(?:[^/?]*|[^@]*)@", r"\1***@", text)
    else:  # mistyped: it is no URL, and the password still is one
        text = re.sub(r"(:)(?!\$\{\w+\}@)[^:@]*@", r"\1***@", text)
    return re.sub(r"([?&]\w*(?:pass|passwd|password|secret|token)=)(?!\$\{\w+\}(?:&|$))[^&]*", r"\1***", text)
