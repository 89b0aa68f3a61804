"""How a kernel is compiled: in two steps, of which the second is for what Python calls only.

numba makes each function ready to run, with all that it calls: what stands at the bottom of a chain of ten calls is optimised,
and made machine code, ten times. Most kernels are called by kernels only. So a kernel is first made a *part*: types are found,
and it is written in LLVM's language, together with the parts that it calls. When Python calls it, its part is optimised as one,
gets what takes Python's arguments, and becomes machine code.
"""

# mypy: disable-error-code="no-untyped-call, misc, attr-defined"
# (numba and llvmlite have no types)

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from llvmlite import binding
from numba.core import sigutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags, _make_subtarget
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import ForceLiteralArg
from numba.core.registry import CPUDispatcher
from numba.core.targetconfig import ConfigStack

_OBJECTS = 50_000
"""So many new objects are looked through at a time for what nobody needs, while something is compiled."""


class Nowhere:
    """Where a kernel is kept that is kept nowhere; else it is :class:`stages.compute.code_on_disk.CodeOnDisk`."""

    cache_path = None

    def load(self, args: Any, target_context: Any, *, is_part: bool) -> Any:
        """Return a part, or what is ready, for arguments of some types; None if there is none."""

    def save(self, args: Any, data: Any, *, is_part: bool) -> None:
        """Keep it."""

    def turn(self) -> AbstractContextManager[bool]:
        """Compile while no other process compiles this function; tells whether one did so before, and may have kept it."""
        return nullcontext(False)


class Kernel(CPUDispatcher):
    """A compiled function; for each of the types of its arguments there is a part, or what is ready to run, or both."""

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None, kept: Any = None) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class=_PartCompiler)
        self._cache = kept or Nowhere()
        self._ready: dict[Any, Any] = {}

    @property
    def signatures(self) -> list[Any]:
        """The types of arguments for which it can be called from Python without being compiled."""
        return list(self._ready)

    def compile(self, sig: Any) -> Any:
        """Return what Python calls for a signature, or the compiler, if it is at work; it is made if need be."""
        if not self._can_compile:
            raise RuntimeError("compilation disabled")
        with global_compiler_lock, self._compiling_counter:
            args, return_type = sigutils.normalize_signature(sig)
            if ConfigStack.top_or_none() is not None:
                return self._part(tuple(args), return_type).entry_point
            ready = self._ready.get(tuple(args))
            if ready is None:
                ready = self._found_ready(tuple(args), return_type)
                self._insert([a._code for a in ready.signature.args], ready.entry_point, False)
                self._ready[tuple(args)] = ready
            return ready.entry_point

    def _found_ready(self, args: tuple[Any, ...], return_type: Any) -> Any:
        """Return what Python calls, from disk or made here."""
        ready = self._cache.load(args, self.targetctx, is_part=False)
        if ready is None:
            with self._cache.turn() as was_waited_for, _rarely_tidied_up():
                ready = self._cache.load(args, self.targetctx, is_part=False) if was_waited_for else None
                if ready is None:
                    self._cache_misses[args] += 1
                    ready = self._made_ready(self._part(args, return_type))
                    self._cache.save(args, ready, is_part=False)
                    return ready
        self._cache_hits[args] += 1
        return ready

    def _part(self, args: tuple[Any, ...], return_type: Any) -> Any:
        """Return the part for some types, from disk or made here."""
        if args in self.overloads:
            return self.overloads[args]
        part = self._cache.load(args, self.targetctx, is_part=True)
        if part is None:
            with self._cache.turn() as was_waited_for:
                part = self._cache.load(args, self.targetctx, is_part=True) if was_waited_for else None
                if part is None:
                    part = self._compiled(args, return_type)
                    self._cache.save(args, part, is_part=True)
        part = part._replace(entry_point=object())  # by which the compiler knows it
        self.targetctx.insert_user_function(part.entry_point, part.fndesc, [part.library])
        self.overloads[args] = part
        return part

    def _compiled(self, args: tuple[Any, ...], return_type: Any) -> Any:
        try:
            part = self._compiler.compile(args, return_type)
        except ForceLiteralArg as error:
            raise error.bind_fold_arguments(lambda args, kws: self.fold_argument_types(args, kws)[1]) from error
        part.library.finalize()
        return part

    def _made_ready(self, part: Any) -> Any:
        """Return a part as machine code, with what takes Python's arguments."""
        flags = Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        context = _make_subtarget(self.targetctx, flags)
        library = context.codegen().create_library(part.fndesc.qualname)
        library.enable_object_caching()
        library.add_linking_library(part.library)
        with ConfigStack().enter(flags), context.push_code_library(library):
            context.create_cpython_wrapper(library, part.fndesc, part.environment, None, release_gil=flags.release_gil)
        entry_point = context.get_executable(library, part.fndesc, part.environment)
        ready = part._replace(library=library, entry_point=entry_point, target_context=context)
        for environment in ready._find_referenced_environments():
            library.codegen.set_env(environment.env_name, environment)
        return ready


class _PartCompiler(Compiler):
    """numba's compiler, stopped when a function is written in LLVM's language."""

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *types: Any) -> None:
        flags = types[2]
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        super().__init__(typing_context, target_context, library, *types)

    def _compile_bytecode(self) -> Any:
        self.state.library = Part(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super()._compile_bytecode()


class Part(JITCodeLibrary):
    """A function in LLVM's language together with all that it calls, neither optimised as one nor machine code."""

    def finalize(self) -> None:
        """Take in what it calls."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True

    def serialize_using_object_code(self) -> Any:
        """Return it for the disk, where it stands in the place of machine code and what that was made of."""
        return self.name, "object", (b"", self._get_module_for_linking().as_bitcode())

    def _optimize_functions(self, module: Any) -> None:
        """Make each function simpler by itself; numba would begin anew for each, and for those that are only named."""
        module.data_layout = self._codegen._data_layout
        passes, builder = self._codegen._function_pass_manager()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)


class PartFromDisk(Part):
    """A part that was made before; it is read when something is compiled that calls it."""

    def __init__(self, codegen: Any, name: str, bitcode: bytes) -> None:
        super().__init__(codegen, name)
        self._bitcode = bitcode
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = self._final_module = binding.parse_bitcode(self._bitcode)
        return self._shared_module


@contextmanager
def _rarely_tidied_up() -> Iterator[None]:
    """Have Python's collector look less often: there is hardly anything for it, and it took an eighth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _OBJECTS) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
