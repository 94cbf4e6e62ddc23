"""The rule files: what an operator may decide, in TOML, shipped with the package and overridden file by file."""
