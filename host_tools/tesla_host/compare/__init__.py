"""Compare ways of training: many runs, one table, the paper's Figures 3 and 4.

In: recipes, algorithms, profiles, seeds and a data set. Out: a folder with one sub-folder per run,
`compare.json`, `compare.md` and one .svg per recipe. An interrupted comparison continues.
"""
