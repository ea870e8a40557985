"""What work that would rather look right than be right does to tests: found in the change itself, and by trying.

- :mod:`change`, :mod:`roles`: what the package changes, and which of it is tests, snapshots, configuration of runs.
- :mod:`facts`, :mod:`pythonic`, :mod:`neutral`: the tests of a file, with what they assert and when they are skipped.
- :mod:`tests`, :mod:`running`, :mod:`surroundings`, :mod:`detection`: what is odd about a change, as pure functions.
- :mod:`mutants`, :mod:`probes`: what is tried in copies: the old tests on the new code, the new tests on the old code,
  small faults, and failures once more.
- :mod:`judgement`: which of it refuses, by ``review.integrity``.
"""
