"""Writes metric files (``.stm``, version 1) through a memory map: no lock and no system call per point.

The format is documented in Stoa's crate ``stoa-metrics``, module ``format``. One file per process. What a killed process wrote stays
in the kernel's page cache, so a point whose ``log`` returned is never lost with the process.

Why there is no lock: CPython with its global lock switches threads and runs signal handlers only after calls, at the
start of functions and at backward jumps (since 3.10). The statements that take a place in the file and fill it contain none
of these. On other interpreters, and without the global lock, the same statements run under a lock.
"""

import os
import sys
import threading
import time
from struct import Struct, error as struct_error
from zlib import crc32

POINT, POINTS, NAME, SUMMARY, ARTIFACT, LOST, END = 1, 2, 3, 4, 5, 7, 8
MAGIC = b"\x89STM\r\n\x1a\n"
HEADER = 64
FIRST_CHUNK = 64 * 1024
LARGEST_CHUNK = 16 * 1024 * 1024
#: Distinct names of one process, and bytes of one name; the reader has the same limits.
MAX_NAMES = 131072
MAX_NAME = 1024
#: Sets of names whose layout is remembered.
MAX_PLANS = 4096
MAX_BATCH = 65535
MAX_TEXT = 0xFFFFFF
#: Whether threads switch only as described above.
SWITCHES_AT_CALLS = (
    sys.implementation.name == "cpython"
    and sys.version_info >= (3, 10)
    and getattr(sys, "_is_gil_enabled", lambda: True)()
)
#: Seconds between two tries to get space after a failure.
RETRY = 1.0

_crc = Struct("<I").pack
_point = Struct("<Iqqd").pack
_sealed_point = Struct("<I28s").pack
_text = Struct("<IqII").pack


def sealed(body):
    """A frame: its checksum, its content, and zeros up to a multiple of 8 bytes."""
    body += bytes(-(len(body) + 4) % 8)
    return _crc(crc32(body)) + body


def text_frame(kind, a, b, text):
    """A frame with text."""
    return sealed(_text(kind | len(text) << 8, time.time_ns(), a, b) + text)


def writer(run_dir):
    """Functions that write for a run: ``log``, ``record`` (a text frame) and ``lost`` (points lost so far)."""
    if run_dir is None:
        return _log_outside, lambda kind, key, text: True, lambda: 0
    return _inside(run_dir)


def flattened(data, prefix=""):
    """Names and numbers of a dict, nested dicts joined by ``/``. Raises TypeError for what is not a number."""
    flat = {}
    for key, value in data.items():
        name = prefix + str(key)
        if hasattr(value, "items"):
            flat.update(flattened(value, name + "/"))
            continue
        if not isinstance(value, (str, bytes, bytearray)):
            try:
                flat[name] = float(value)
                continue
            except OverflowError:
                flat[name] = float("inf") if value > 0 else float("-inf")
                continue
            except (TypeError, ValueError):
                pass
        raise TypeError("stoa.log takes numbers, and %r is of type %s" % (name, type(value).__name__))
    return flat


def checked(data, step):
    """The arguments of ``log`` in their plain form, or the error that explains them."""
    if not hasattr(data, "items"):
        raise TypeError("stoa.log takes a dict of names and numbers, not %s" % type(data).__name__)
    if step is not None:
        whole = step.__index__() if hasattr(step, "__index__") else None
        if whole is None and hasattr(step, "__float__") and float(step) == int(float(step)):
            whole = int(float(step))
        if whole is None:
            raise TypeError("step is a whole number, not %r" % (step,))
        if not -(2**63) <= whole < 2**63:
            raise ValueError("step does not fit into 64 bits: %r" % (step,))
        step = whole
    return flattened(data), step


def _log_outside(data, step=None):
    """Log numbers of one training step. Outside a run only the arguments are checked."""
    checked(data, step)


def _plan(ids):
    """How points of these series are packed: the function, the number in front, what follows, the seal, the length."""
    count = len(ids)
    tail = Struct("<%dI" % count).pack(*ids) + bytes(4 * (count % 2))
    size = 24 + 8 * count + len(tail)
    return Struct("<Iqq%dd" % count).pack, POINTS | count << 8, tail, Struct("<I%ds" % (size - 4)).pack, size


def _create(folder):
    """Make a new file for this process: its descriptor."""
    os.makedirs(folder, exist_ok=True)
    start = time.time_ns()
    for number in range(1000):
        path = os.path.join(folder, "%d-%d-%d.stm" % (os.getpid(), start, number))
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            continue
    raise FileExistsError(path)


def _allocate(descriptor, start, length):
    """Make sure that there is space on the disk: writing to a mapped hole of a full disk would kill the process."""
    try:
        os.posix_fallocate(descriptor, start, length)
    except OSError as error:
        import errno

        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        end = start + length
        at = max(start, os.fstat(descriptor).st_size)
        while at < end:
            at += os.pwrite(descriptor, bytes(min(1 << 20, end - at)), at)


def _warn(text):
    try:
        sys.stderr.write("stoa: %s\n" % text)
    except (OSError, ValueError, AttributeError):
        pass


def _inside(run_dir):  # noqa: C901 - one closure, because its variables are faster than attributes
    import atexit
    import mmap

    folder = os.path.join(run_dir, "metrics")
    words = {}  # name -> number in front of a point of it
    plans = {}  # names -> what `_plan` answers
    deferred = []  # calls of a signal handler that interrupted another call
    granularity = mmap.ALLOCATIONGRANULARITY
    window = None  # the mapped part of the file
    at = 0  # where the next frame goes, in the window
    limit = 0  # where the window ends
    descriptor = -1
    window_start = 0
    chunk = FIRST_CHUNK
    next_id = 0
    steps = 0
    lost = unreported = 0
    warned = False
    retry_at = 0.0
    making_room = busy = False
    lock = threading.RLock()

    def put(frame, points):
        """Write a frame that holds so many points; answers whether it was written."""
        nonlocal at
        size = len(frame)
        while True:
            # On one line, because a debugger's trace function is called between lines.
            if (end := (start := at) + size) <= limit: at = end; window[start:end] = frame; return True  # noqa: E701, E702
            if not make_room(size):
                if making_room:
                    deferred.append((put, frame, points))
                    return True
                lose(points)
                return False

    def put_locked(frame, points):
        """`put` where a thread or a signal handler may interrupt at any place."""
        nonlocal busy
        with lock:
            if busy:
                # A signal handler of the thread that has the lock: its turn comes when the thread is done.
                deferred.append((put_locked, frame, points))
                return True
            busy = True
            try:
                return put(frame, points)
            finally:
                busy = False
                if deferred:
                    catch_up()

    def catch_up():
        """Make the calls that had to wait; those that have to wait again stay."""
        for _ in range(len(deferred)):
            try:
                function, *arguments = deferred.pop(0)
            except IndexError:
                return  # a signal handler has made them
            function(*arguments)

    write = put if SWITCHES_AT_CALLS else put_locked

    def make_room(size):
        """Map the next part of the file; answers whether there is room for a frame of this size now."""
        nonlocal making_room
        with lock:
            if at + size <= limit:
                return True
            if making_room or time.monotonic() < retry_at:
                return False
            making_room = True
            try:
                extend(size)
                return True
            except (OSError, ValueError, OverflowError) as error:
                fail(error)
                return False
            finally:
                making_room = False
                if deferred:
                    catch_up()

    def extend(size):
        nonlocal descriptor, window, window_start, at, limit, chunk
        if descriptor < 0:
            begin()
        position = window_start + at
        start = position - position % granularity
        length = max(chunk, position - start + size)
        length += -length % granularity
        _allocate(descriptor, start, length)
        mapped = mmap.mmap(descriptor, length, offset=start)
        if window is None:
            mapped[:HEADER] = header()
        chunk = min(2 * chunk, LARGEST_CHUNK)
        # From here to the end there is no call, so no other thread sees half of it. `at` is read again, because short
        # frames may have gone to the end of the old window in the meantime.
        at = window_start + at - start; window_start = start; limit = length; window = mapped  # noqa: E702
        report_loss()

    def begin():
        nonlocal descriptor, window_start, at, chunk, next_id
        descriptor = _create(folder)
        window_start = next_id = 0
        at = HEADER
        chunk = FIRST_CHUNK

    def header():
        head = MAGIC + Struct("<IIIIQ28x").pack(1, HEADER, 0, os.getpid(), time.time_ns())
        return head + _crc(crc32(head))

    def report_loss():
        nonlocal unreported
        if unreported:
            count, unreported = unreported, 0
            put(text_frame(LOST, min(count, 0xFFFFFFFF), 0, b""), 0)

    def fail(error):
        nonlocal warned, retry_at
        retry_at = time.monotonic() + RETRY
        if not warned:
            warned = True
            _warn("metrics of this run cannot be kept: %s (the program goes on)" % error)

    def lose(points):
        nonlocal lost, unreported
        with lock:
            lost += points
            unreported += points

    def close_descriptor():
        nonlocal descriptor
        os.close(descriptor)
        descriptor = -1

    def define(name):
        """The number in front of a point of a series; None when there are too many or there is no room."""
        nonlocal next_id, warned
        with lock:
            if len(words) >= MAX_NAMES:
                if not warned:
                    warned = True
                    _warn("more than %d names of metrics; new ones are not kept" % MAX_NAMES)
                return None
            number = next_id; next_id = number + 1  # noqa: E702 - one line, see `put`
            text = name.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore").encode()
            if not write(text_frame(NAME, number, 0, text), 0):
                return None
            word = words[name] = POINT | number << 8
            return word

    def log_any(data, step):
        """What `log` does when its short way is not open: new names, nested values, no room, wrong arguments."""
        data, step = checked(data, step)
        # Ids belong to a file, so there has to be one.
        if limit == 0 and not make_room(HEADER):
            if making_room:
                deferred.append((log_any, data, step))
            else:
                lose(len(data))
            return
        items = []
        for name, value in data.items():
            word = words.get(name) or define(name)
            if word is None:
                lose(1)
            else:
                items.append((word >> 8, value))
        if len(items) == 1:
            number, value = items[0]
            write(sealed(_point(POINT | number << 8, time.time_ns(), step, value)), 1)
            remember(tuple(data), (_point, POINT | number << 8, b"", _sealed_point, 32))
            return
        for first in range(0, len(items), MAX_BATCH):
            part = items[first : first + MAX_BATCH]
            plan = pack, word, tail, seal, _ = _plan([number for number, _ in part])
            body = pack(word, time.time_ns(), step, *[value for _, value in part]) + tail
            write(seal(crc32(body), body), len(part))
            if len(part) == len(data):
                remember(tuple(data), plan)

    def remember(names, plan):
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plans[names] = plan

    def log(
        data, step=None, *, _now=time.time_ns, _crc32=crc32, _pack=_point, _seal=_sealed_point, _len=len, _tuple=tuple
    ):
        """Log numbers of one training step: ``stoa.log({"loss": 0.5}, step=10)``.

        Values are anything that ``float`` takes except texts; nested dicts are joined by ``/``; NaN and infinities are
        kept. Without a step the calls of this process without one are counted, from 0. Raises TypeError for what is not a
        number.
        """
        nonlocal at, steps
        if step is None:
            step = steps; steps = step + 1  # noqa: E702 - one line, see `put`
        try:
            if _len(data) == 1:
                (name,) = data
                body = _pack(words[name], _now(), step, data[name])
                frame = _seal(_crc32(body), body)
                size = 32
            else:
                pack, word, tail, seal, size = plans[_tuple(data)]
                body = pack(word, _now(), step, *data.values()) + tail
                frame = seal(_crc32(body), body)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, struct_error):
            return log_any(data, step)
        if (end := (start := at) + size) <= limit: at = end; window[start:end] = frame; return  # noqa: E701, E702
        write(frame, _len(data))

    def log_locked(data, step=None):
        nonlocal steps
        if step is None:
            with lock:
                step = steps
                steps = step + 1
        try:
            pack, word, tail, seal, _ = plans[tuple(data)]
            body = pack(word, time.time_ns(), step, *data.values()) + tail
            frame = seal(crc32(body), body)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, struct_error):
            return log_any(data, step)
        write(frame, len(data))

    log_locked.__doc__ = log.__doc__
    log_locked.__name__ = log_locked.__qualname__ = "log"

    def record(kind, key, text):
        """Write a text frame; answers whether it was kept."""
        key, text = key.encode("utf-8", "replace"), text.encode("utf-8", "replace")
        if len(key) + len(text) > MAX_TEXT:
            raise ValueError("a value of the run's summary is longer than 16 MB: %r" % key[:100].decode("utf-8", "replace"))
        return write(text_frame(kind, len(key), 0, key + text), 0)

    def close():
        """Cut the file to its content. What is logged later goes to a new file."""
        nonlocal limit, at, window_start, window
        with lock:
            if descriptor < 0 or limit == 0:
                return
            report_loss()
            put(text_frame(END, 0, 0, b""), 0)
            end = window_start + at
            limit = 0
            words.clear()
            plans.clear()
            try:
                os.ftruncate(descriptor, end)
            except OSError:
                pass  # zeros at the end mean the same
            window = None
            close_descriptor()

    def start_child():
        """A forked child writes a file of its own."""
        nonlocal lock, limit, at, window_start, window, lost, unreported, making_room, busy
        lock = threading.RLock()
        deferred.clear()
        window = None
        making_room = busy = False
        limit = at = window_start = lost = unreported = 0
        words.clear()
        plans.clear()
        if descriptor >= 0:
            close_descriptor()

    os.register_at_fork(after_in_child=start_child)
    atexit.register(close)
    return log if SWITCHES_AT_CALLS else log_locked, record, lambda: lost
