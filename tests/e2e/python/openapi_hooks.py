"""What a schema can't say of the server API, told to schemathesis: that names are counted in bytes, which ids the log knows, and where
there is something to see.

Environment: EVENT_IDS, a JSON list; KNOWN, a JSON object of the names to put into paths.
"""

import itertools
import json
import os
import re
from urllib.parse import quote, unquote

import schemathesis
from schemathesis import GenerationMode

EVENT_ID = re.compile(r"[0-9a-z]{8}-(0|[1-9][0-9]{0,15})\Z")
IDS = itertools.cycle(json.loads(os.environ["EVENT_IDS"]))
KNOWN = json.loads(os.environ["KNOWN"])
TURN = itertools.count()
BYTES_MAX = {"channel": 255, "channels": 255, "user": 250, "jti": 250, "event": 128, "key": 128}


def cut(text, bytes_max):
    return text.encode()[:bytes_max].decode(errors="ignore") if isinstance(text, str) else text


def fitting(values):
    """Names of as many characters as there may be bytes, with fewer of them where those are long."""
    if not isinstance(values, dict):
        return
    for name in values.keys() & BYTES_MAX.keys():
        value, bytes_max = values[name], BYTES_MAX[name]
        values[name] = [cut(one, bytes_max) for one in value] if isinstance(value, list) else cut(value, bytes_max)


def known(values, names):
    """An id of the right form is one that was given."""
    for name in names:
        if isinstance(values, dict) and EVENT_ID.match(str(values.get(name))):
            values[name] = next(IDS)


@schemathesis.hook
def before_call(context, case, kwargs):
    # What is wrong on purpose stays as it is.
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    path = {name: unquote(value) for name, value in (case.path_parameters or {}).items()}
    fitting(path)
    # Every second look is where there is something to see. Nobody is sent away there, so that it stays.
    if case.method == "GET" and next(TURN) % 2:
        path.update((name, KNOWN[name]) for name in path)
    for name, value in path.items():
        case.path_parameters[name] = quote(value, safe="")
    fitting(case.query)
    fitting(case.body)
    known(case.query, ["before", "after"])
    known(case.body, ["id"])
    if case.operation.path.endswith("/history") and "before" in (case.query or {}):
        # They exclude each other.
        case.query.pop("after", None)
