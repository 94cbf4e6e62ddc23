"""The operator's pages. README.md here says how to add one."""
