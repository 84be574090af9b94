"""Keeps copies of files and folders with a run."""

import hashlib
import json
import os

from . import _writer

PIECE = 1024 * 1024


def keep(path, name, run_dir, record):
    """Copy `path` below `artifacts/` of the run; the path of the copy, or None."""
    if not os.path.exists(path):
        raise FileNotFoundError("stoa.artifact: there is no file or folder %r" % path)
    name = _checked_name(os.path.basename(os.path.abspath(path)) if name is None else name)
    if run_dir is None:
        return None
    target = os.path.join(run_dir, "artifacts", *name.split("/"))
    try:
        if os.path.isdir(path):
            _keep_folder(path, name, target, record)
        else:
            _keep_file(path, name, target, record)
    except OSError as error:
        _writer._warn("cannot keep the artifact %r: %s (the program goes on)" % (name, error))
        return None
    return target


def _checked_name(name):
    name = os.fspath(name)
    parts = name.split("/")
    if not isinstance(name, str) or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError("stoa.artifact: a name is a relative path without `..`, not %r" % (name,))
    return name


def _keep_folder(path, name, target, record):
    for folder, _, files in os.walk(path):
        relative = os.path.relpath(folder, path)
        for file in sorted(files):
            source = os.path.join(folder, file)
            # What is no regular file (a socket, a pipe, a broken link) has no content to keep.
            if os.path.isfile(source):
                inner = os.path.normpath(os.path.join(relative, file))
                _keep_file(source, "%s/%s" % (name, inner), os.path.join(target, inner), record)


def _keep_file(source, name, target, record):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    # A copy and not a second link: the script may write to its file again.
    unfinished = "%s.%d.unfinished" % (target, os.getpid())
    try:
        size, digest = _copy(source, unfinished)
        os.replace(unfinished, target)
    except BaseException:
        try:
            os.unlink(unfinished)
        except OSError:
            pass
        raise
    facts = {"path": "artifacts/" + name, "size": size, "sha256": digest}
    record(_writer.ARTIFACT, name, json.dumps(facts, ensure_ascii=False))


def _copy(source, target):
    digest = hashlib.sha256()
    size = 0
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while True:
            piece = reader.read(PIECE)
            if not piece:
                break
            digest.update(piece)
            writer.write(piece)
            size += len(piece)
        os.fchmod(writer.fileno(), os.fstat(reader.fileno()).st_mode & 0o777)
    return size, digest.hexdigest()
