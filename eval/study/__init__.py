"""Studies: several models under several conditions on the same tasks, as one table with tests.

Contract: a study is measured by the sweep (:mod:`eval.sweep`), so that it is resumed as an evaluation is. The study of
action formats compares actions in code, JSON and text (the paper's section 2, Tables 2 and 3). This module imports
nothing, so that reading a configuration is cheap.
"""
