"""Settings -> stages -> a record; grids of runs."""
