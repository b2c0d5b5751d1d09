"""The paper: pure functions and pytrees; no files, no processes, no clocks."""
