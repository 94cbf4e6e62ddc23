"""What is kept about a person: the map, the export, the erasure and its proof."""
