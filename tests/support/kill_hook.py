"""What :mod:`tests.support.engine_kill` installs as ``sitecustomize`` in a process that is to be killed.

The function is wrapped when its module has been executed, before anybody can import it from there. What cannot be
wrapped (a generator, a function within a function or behind a decorator) is found by a profile hook, which slows down
the whole process.
"""

import os
import sys
import threading
import types
from typing import Any

_module, _name, _moment = os.environ.get("TEST_KILL_AT", "::").split(":")
_which = os.environ.get("TEST_KILL_WHICH", "")
_struck: list[str] = []


def _strike() -> None:
    # a signal that does not kill comes once: the process is to go on afterwards
    if not _struck:
        _struck.append(_name)
        sys.setprofile(None)
        os.kill(os.getpid(), int(os.environ["TEST_KILL_BY"]))


def _wrapped(function: types.FunctionType) -> Any:
    def act(*args: Any, **named: Any) -> Any:
        if _moment == "call":
            _strike()
        try:
            return function(*args, **named)
        finally:
            if _moment == "return":
                _strike()

    act.__name__, act.__qualname__, act.__doc__ = function.__name__, function.__qualname__, function.__doc__
    act.__module__, act.__dict__ = function.__module__, {**function.__dict__, "__wrapped__": function}
    return act


def _holders(module: types.ModuleType) -> list[Any]:
    own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == _module]
    return [one for one in (module, *own) if _name in vars(one)]


def _arm(module: types.ModuleType) -> None:
    holders = _holders(module)
    found = [vars(one)[_name] for one in holders]
    if found and all(map(_plain, found)):
        for holder, function in zip(holders, found, strict=True):
            if function.__module__ == _module:
                setattr(holder, _name, _wrapped(function))
        return
    _profile_all()


def _plain(function: Any) -> bool:
    """A function as it was written; what a decorator has put in its place goes by another name."""
    return (
        isinstance(function, types.FunctionType) and function.__code__.co_name == _name
        and not function.__code__.co_flags & _SUSPENDS
    )  # fmt: skip


def _profile_all() -> None:
    threading.setprofile(_profile)
    sys.setprofile(_profile)


#: a generator, a coroutine, an asynchronous generator (inspect)
_SUSPENDS = 0x20 | 0x80 | 0x200


def _profile(frame: types.FrameType, event: str, _: Any) -> None:
    if event == _moment and frame.f_code.co_name == _name and frame.f_globals.get("__name__") == _module:
        _strike()


class _Finder:
    """Arms when the module has been executed."""

    @staticmethod
    def find_spec(name: str, path: Any, target: Any = None) -> Any:
        if name != _module:
            return None
        sys.meta_path.remove(_Finder)
        from importlib.util import find_spec

        spec = find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            _arm(module)

        spec.loader.exec_module = exec_module
        return spec


if _which and any(_which in word for word in sys.orig_argv):
    if _module == "__main__":
        # it is not imported, and what it calls itself nobody could wrap in time
        _profile_all()
    else:
        sys.meta_path.insert(0, _Finder)
