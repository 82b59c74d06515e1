"""The paper's tables and figures (Howard & Ruder 2018), one module each: its rows, the paper's figures, its rendering.

    ulmfit-exp paper table7 --data trec sfu --seeds 3

A module has TITLE, DATA (its data sets), `variants(base)`, which derives its rows from one run of a data set, and
`render(results)`, which makes a Markdown table and a plot from (cell, record) pairs. Its docstring, with the
differences from the paper, is printed above the table.
"""
