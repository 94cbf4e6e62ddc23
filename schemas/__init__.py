"""The words of Ferryman: values, events, payload models, errors. Imports nothing of ours, does no I/O."""
