"""The coordinator: state transitions, dispatch, review, merging, recovery. Knows every room below, none above."""
