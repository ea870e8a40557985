"""``run``: dispatch every ready package, review and land what finishes, go on with what that unblocks.

:mod:`run` is the loop, :mod:`scene` what its parts share, :mod:`starting`, :mod:`landing`, :mod:`waiting` and
:mod:`ending` what their names say, :mod:`owner` the record of who runs.

Nothing is offered here: commands that only ask who runs a feature do not pay for the loop.
"""
