"""Reading and writing the files that neuroscience keeps its recordings in."""
