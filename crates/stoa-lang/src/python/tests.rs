//! Whole-service tests of Python scripts.
