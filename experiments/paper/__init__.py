"""The paper's tables and figures (Howard & Ruder 2018), one module each: rows, published figures and rendering.

    ulmfit-exp paper table7 --data trec sfu --seeds 3

A module has TITLE, DATA (its data sets), REFERENCE (the row that the others are compared with), `variants(base)`, which
derives its rows from one run of a data set, and `render(results)`, which makes Markdown tables and a plot from (cell,
record) pairs; links in the tables are relative to the folder of committed records. If a row is run with several numbers
of labels, `sized(settings, data)` returns its settings for each. RECIPES has the recipe of data sets that do not use
`small`. The docstring, with the differences from the paper, is printed above the tables. `tables` has the shared code,
and `__main__` the command.
"""
