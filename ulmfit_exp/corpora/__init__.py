"""Sources on disk -> `Corpus`: a module per data set, each reading its publisher's layout.

A user's own table or folder is read in this order, a module each:

archives            the path: what it holds, unpacked as a stream
encodings           bytes -> text
csv_dialect         delimiter, quotes and header line of a CSV
json_parquet        rows of JSON and Parquet
table, folders      a file's rows, whatever its format; a folder's texts or tables
user_table          which columns are text, label, split and id, as `options` say or guessed
labels, multilabel  cells -> classes
splits              train, valid and test
corpus              `Corpus`: the table, checked
"""
