"""Compiled code that was on disk, made ready to run.

numba can do that, and does more: it reads what a kernel was compiled from, too, so that others can be compiled with it, and
imports what numba itself was compiled from. Both take longer than all else; here they wait until something is compiled.
"""

# mypy: disable-error-code="no-untyped-call"
# (numba and llvmlite have no types)

from __future__ import annotations

import io
import pickle
import sys
from typing import Any

from llvmlite import binding
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import compile_result
from numba.core.environment import Environment, _rebuild_env, lookup_environment

from stages.compute.parts import PartFromDisk


def unpickled(code: bytes) -> Any:
    """Return what was pickled of a compiled function."""
    return _Unpickler(io.BytesIO(code)).load()


def ready(target_context: Any, payload: Any) -> Any:
    """Return the result of compilation of which `payload` was kept on disk, as numba's `CompileResult._rebuild` does."""
    (name, _, (machine_code, bitcode)), fndesc, env, signature, objectmode, lifted, annotation, reload_init, envs = (
        payload
    )
    for again in reload_init or ():
        again()
    codegen = target_context.codegen()
    library: Any
    if machine_code:
        library = _Library(codegen, name, machine_code, bitcode)
        entry_point = target_context.get_executable(library, fndesc, env)
        for referenced in envs:
            codegen.set_env(referenced.env_name, referenced)
    else:
        library = PartFromDisk(codegen, name, bitcode)
        entry_point = None
    return compile_result(
        target_context=target_context,
        typing_context=target_context.typing_context,
        library=library,
        environment=env,
        entry_point=entry_point,
        fndesc=fndesc,
        type_annotation=annotation,
        signature=signature,
        objectmode=objectmode,
        lifted=lifted,
        reload_init=reload_init,
        referenced_envs=envs,
    )


class _Library(JITCodeLibrary):
    """The machine code of one function, and its bitcode, which is read when something that calls the function is compiled."""

    def __init__(self, codegen: Any, name: str, machine_code: bytes, bitcode: bytes) -> None:
        super().__init__(codegen, name)
        self._bitcode = bitcode
        self.enable_object_caching()
        self._set_compiled_object(machine_code)
        self._finalize_final_module()

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of a function that is known to be here; numba would look it up in the bitcode before."""
        return int(self._codegen._engine.get_function_address(name))

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = binding.parse_bitcode(self._bitcode)
            self._codegen._engine._load_defined_symbols(self._shared_module)
        return self._shared_module


class _Unpickler(pickle.Unpickler):
    """Reads what numba has pickled, and imports no module of numba's for the sake of its name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numba.core.environment", "_rebuild_env"):
            return _environment
        return super().find_class(module, name)


def _environment(module: str, consts: list[Any], name: str) -> Any:
    """Return the constants of a compiled function, numba's own or one of ours.

    With them goes the namespace of its module, for code that was compiled in object mode; no kernel is. For functions of
    numba's it is left empty: that of `numpy.sum` is in a module that imports scipy.
    """
    env = lookup_environment(name)
    if env is None and (module in sys.modules or not module.startswith("numba.")):
        env = _rebuild_env(module, consts, name)
    if env is None:
        env = Environment({"__name__": module})
        env.env_name = name
        Environment._memo[name] = env
    # Those of the part may be here already: it was read before, or code that was made of it names them. What makes Python's
    # objects of results has constants of its own, behind these.
    env.consts.extend(consts[len(env.consts) :])
    return env
