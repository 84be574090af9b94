//! The Python module `stoa`, as files to be written into a folder on `PYTHONPATH`.

/// Each file's path below that folder, and its content.
pub const FILES: &[(&str, &[u8])] = &[
    ("stoa/__init__.py", include_bytes!("../../../python/stoa/__init__.py")),
    ("stoa/_artifact.py", include_bytes!("../../../python/stoa/_artifact.py")),
    ("stoa/_writer.py", include_bytes!("../../../python/stoa/_writer.py")),
    ("stoa/py.typed", include_bytes!("../../../python/stoa/py.typed")),
];
