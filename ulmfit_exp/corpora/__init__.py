"""Sources on disk -> `Corpus`: one module a publisher, each reading the layout in which its data is handed out."""
