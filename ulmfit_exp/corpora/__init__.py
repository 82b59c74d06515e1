"""Sources on disk -> `Corpus`: a module per data set, each reading its publisher's layout."""
