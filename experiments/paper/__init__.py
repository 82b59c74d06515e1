"""The paper's tables and figures (Howard & Ruder 2018), one module each: its rows, the paper's figures, its rendering.

    ulmfit-exp paper table7 --data trec sfu --seeds 3

A module has TITLE, DATA (its data sets), `variants(base)`, which derives its rows from one run of a data set, and
`render(results)`, which makes Markdown tables and a plot from (cell, record) pairs; links in the tables start at the
folder of committed records. RECIPES has the recipe of data sets that do not use `small`. Its docstring, with the
differences from the paper, is printed above the tables. `tables` has what they share, and `__main__` the command.
"""
