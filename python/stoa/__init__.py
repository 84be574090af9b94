"""Metrics, summary values and artifacts of a Stoa run.

    import stoa

    stoa.log({"loss": loss, "eval": {"accuracy": accuracy}}, step=step)
    stoa.summary(best_accuracy=0.97)
    stoa.artifact("model.pt")

Inside a run (``stoa run train.py``) each call keeps what it is given in the run's folder. Outside a run the same calls
check their arguments and do nothing. No call waits for a network or another process, and none raises because a disk is full
or a folder cannot be written: then one warning is printed and what could not be kept is counted.

Pure Python 3.8 or later, without dependencies. Safe in threads and in forked processes.
"""

import os as _os

from . import _writer

__all__ = ["active", "artifact", "log", "run_dir", "run_id", "summary"]

#: Folder of the run that this process belongs to, or None.
run_dir = _os.environ.get("STOA_RUN_DIR") or None
#: Id of that run, or None.
run_id = (_os.environ.get("STOA_RUN_ID") or None) if run_dir else None
#: Whether this process belongs to a run.
active = run_dir is not None

_log, _record, _lost = _writer.writer(run_dir)

# `log` is the writer's own function and not a wrapper around it: a call more would cost a tenth of a microsecond.
log = _log


def summary(values=None, **more):
    """Keep results of the run: ``stoa.summary(best=0.9)`` or ``stoa.summary({"best": 0.9})``.

    Values are numbers, texts, booleans, None, lists and dicts of these, and NumPy or PyTorch scalars. A later value of the
    same key replaces the earlier one. Raises TypeError for anything else.
    """
    if values is not None and not hasattr(values, "items"):
        raise TypeError("stoa.summary takes a dict or keyword arguments, not %s" % type(values).__name__)
    import json

    both = dict(values or {}, **more)
    texts = [(str(key), json.dumps(_plain(key, value), ensure_ascii=False)) for key, value in both.items()]
    for key, text in texts:
        _record(_writer.SUMMARY, key, text)


def artifact(path, name=None):
    """Keep a copy of a file or folder in the run, under ``name`` (by default the name of the file).

    Returns the path of the copy, or None outside a run or when it could not be kept. A copy is complete or absent; one
    of the same name is replaced. Raises FileNotFoundError when there is no such file, and ValueError for a name that leads elsewhere.
    """
    from . import _artifact

    return _artifact.keep(_os.fspath(path), name, run_dir, _record)


def _plain(key, value):
    """The value as JSON knows it; NaN and infinities become texts, which JSON lacks numbers for."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if hasattr(value, "items"):
        return {str(inner): _plain(key, item) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(key, item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, float):
        return _plain(key, value.tolist())
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError("stoa.summary cannot keep %r: it is of type %s" % (key, type(value).__name__)) from None
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    return number
