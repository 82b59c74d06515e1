"""Records -> tables, plots, a page and a dashboard."""
