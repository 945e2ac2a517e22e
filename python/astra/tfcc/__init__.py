"""Run a model that is named, on whatever device the node has: the Python face of libastra-tfcc.

    from astra import tfcc

    with tfcc.Model("det") as model:
        outputs = model.run({"x": image})          # name -> numpy array

A name is looked up in the folder $ASTRA_MODELS, which Astra fills with an app's models; a path works, too. Arrays go in
without a copy when they are C-contiguous, and come out as views of the engine's own memory, which lives as long as
any array made of it. The interpreter's lock is not held while a model runs: call one model from as many threads as
you like. Open models after a fork, not before it.

Only numpy is needed. The engine is the node's, never a package of the app.
"""

import ctypes
import os
import threading
from pathlib import Path
from typing import Dict, Iterable, Mapping, NamedTuple, Optional, Tuple

import numpy

__all__ = ["Error", "Model", "TensorInfo", "engine", "version"]

# include/astra/tfcc.h: TFCC_DTYPES. numpy has no bfloat16: its bits come and go as uint16.
_DTYPES = {
    1: numpy.dtype(numpy.float32),
    2: numpy.dtype(numpy.uint8),
    3: numpy.dtype(numpy.int8),
    4: numpy.dtype(numpy.uint16),
    5: numpy.dtype(numpy.int16),
    6: numpy.dtype(numpy.int32),
    7: numpy.dtype(numpy.int64),
    9: numpy.dtype(numpy.bool_),
    10: numpy.dtype(numpy.float16),
    11: numpy.dtype(numpy.float64),
    12: numpy.dtype(numpy.uint32),
    13: numpy.dtype(numpy.uint64),
    16: numpy.dtype(numpy.uint16),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items() if code != 16}


class Error(Exception):
    """What TFCC refused or failed at. `code` is a stable word ("not_found", "model_invalid", "invalid", ...)."""

    def __init__(self, code: str, message: str):
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class TensorInfo(NamedTuple):
    """What a model declares of one input or output. In `shape`, None stands for any size."""

    name: str
    dtype: numpy.dtype
    shape: Tuple[Optional[int], ...]


class _Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int32), ("message", ctypes.c_char * 1024)]


class _Info(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_uint32),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
    ]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_uint32),
        ("dims", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
    ]


class _ModelOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("device", ctypes.c_char_p),
        ("threads", ctypes.c_uint32),
        ("digest", ctypes.c_char_p),
    ]


class _RunOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("outputs", ctypes.POINTER(_Tensor)),
        ("n_outputs", ctypes.c_size_t),
        ("cancel", ctypes.c_void_p),
    ]


class _Stats(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "loads load_failures load_ns inferences failures cancelled items run_ns in_flight".split()
        )
    ]


_pointer = ctypes.c_void_p
_error = ctypes.POINTER(_Error)
_out = ctypes.POINTER(ctypes.c_void_p)
_PROTOTYPES = {
    "tfcc_version": (ctypes.c_char_p, []),
    "tfcc_code_name": (ctypes.c_char_p, [ctypes.c_int]),
    "tfcc_runtime_open": (ctypes.c_int, [_pointer, _out, _error]),
    "tfcc_runtime_engine": (ctypes.c_char_p, [_pointer]),
    "tfcc_model_open": (
        ctypes.c_int,
        [_pointer, ctypes.c_char_p, ctypes.POINTER(_ModelOptions), _out, _error],
    ),
    "tfcc_model_close": (None, [_pointer]),
    "tfcc_model_path": (ctypes.c_char_p, [_pointer]),
    "tfcc_model_device": (ctypes.c_char_p, [_pointer]),
    "tfcc_model_threads": (ctypes.c_uint32, [_pointer]),
    "tfcc_model_input": (ctypes.POINTER(_Info), [_pointer, ctypes.c_size_t]),
    "tfcc_model_output": (ctypes.POINTER(_Info), [_pointer, ctypes.c_size_t]),
    "tfcc_model_metadata_key": (ctypes.c_char_p, [_pointer, ctypes.c_size_t]),
    "tfcc_model_metadata": (ctypes.c_char_p, [_pointer, ctypes.c_char_p]),
    "tfcc_model_run": (
        ctypes.c_int,
        [_pointer, _pointer, ctypes.c_size_t, _pointer, _out, _error],
    ),
    "tfcc_model_stats": (None, [_pointer, ctypes.POINTER(_Stats), ctypes.c_size_t]),
    "tfcc_result_output": (ctypes.POINTER(_Tensor), [_pointer, ctypes.c_size_t]),
    "tfcc_result_free": (None, [_pointer]),
}


def _library_path() -> str:
    """lib/astra/libastra-tfcc.so, seen from lib/astra/python; links are not followed, for in a build folder `python` is one."""
    here = Path(os.path.abspath(__file__))
    return os.environ.get("ASTRA_TFCC_LIBRARY") or str(here.parents[3] / "libastra-tfcc.so")


def _library_load() -> ctypes.CDLL:
    path = _library_path()
    try:
        library = ctypes.CDLL(path)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise Error("os", f"cannot load libastra-tfcc: {error} (set ASTRA_TFCC_LIBRARY to its path)") from error
    return library


class _Runtime:
    """The library and one open runtime; one for each process, never closed."""

    def __init__(self) -> None:
        self.library = _library_load()
        self.handle = ctypes.c_void_p()
        error = _Error()
        rc = self.library.tfcc_runtime_open(None, ctypes.byref(self.handle), ctypes.byref(error))
        if rc != 0:
            raise self.error(error)

    def error(self, error: _Error) -> Error:
        word = self.library.tfcc_code_name(error.code).decode()
        return Error(word, error.message.decode("utf-8", "replace"))


_lock = threading.Lock()
_runtime: Optional[_Runtime] = None


def _runtime_get() -> _Runtime:
    global _runtime
    with _lock:
        if _runtime is None:
            _runtime = _Runtime()
        return _runtime


def _forget_after_fork() -> None:
    # what was opened before the fork belongs to the parent; the lock may have been held by a thread that is gone
    global _runtime, _lock
    _runtime, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_after_fork)


class _Native:
    """Owns one open model of the library. Whoever runs it holds a reference, so that close() cannot pull it away."""

    __slots__ = ("handle", "_close")

    def __init__(self, handle: ctypes.c_void_p, close) -> None:
        self.handle = handle
        self._close = close

    def __del__(self) -> None:
        self._close(self.handle)


class _Result:
    """Owns one result of the library: the memory behind the arrays of one run."""

    __slots__ = ("handle", "_free")

    def __init__(self, handle: ctypes.c_void_p, free) -> None:
        self.handle = handle
        self._free = free

    def __del__(self) -> None:
        self._free(self.handle)


class _View:
    """What numpy turns into an array without copying, and keeps as the array's base."""

    __slots__ = ("__array_interface__", "result")


def _infos(get, handle) -> Tuple[TensorInfo, ...]:
    found = []
    while True:
        pointer = get(handle, len(found))
        if not pointer:
            return tuple(found)
        info = pointer.contents
        shape = tuple(None if size < 0 else size for size in info.dims[: info.rank])
        found.append(TensorInfo(info.name.decode(), _DTYPES[info.dtype], shape))


class Model:
    """An open model. `name`: a model of the app, or a path. `threads`: of one run, by default $OMP_NUM_THREADS, else 1."""

    def __init__(self, name: str, threads: Optional[int] = None, device: str = "cpu") -> None:
        self._native: Optional[_Native] = None
        self._runtime = _runtime_get()
        library = self._library = self._runtime.library
        if threads is not None and not 1 <= threads <= 1024:
            raise Error("invalid", f"model {name}: threads is {threads}; 1 to 1024 expected")
        options = _ModelOptions(ctypes.sizeof(_ModelOptions), device.encode(), threads or 0, None)
        handle, error = ctypes.c_void_p(), _Error()
        rc = library.tfcc_model_open(
            self._runtime.handle, os.fsencode(name), options, ctypes.byref(handle), ctypes.byref(error)
        )
        if rc != 0:
            raise self._runtime.error(error)
        self._native = _Native(handle, library.tfcc_model_close)
        self.name = str(name)
        self.path = os.fsdecode(library.tfcc_model_path(handle))
        self.device = library.tfcc_model_device(handle).decode()
        self.threads = library.tfcc_model_threads(handle)
        self.inputs = _infos(library.tfcc_model_input, handle)
        self.outputs = _infos(library.tfcc_model_output, handle)
        self.metadata = self._metadata_read(handle)
        self._ports = self._ports_read(handle)
        self._all_outputs = tuple(info.name for info in self.outputs)

    def _metadata_read(self, handle) -> Dict[str, str]:
        metadata = {}
        while True:
            key = self._library.tfcc_model_metadata_key(handle, len(metadata))
            if key is None:
                return metadata
            value = self._library.tfcc_model_metadata(handle, key)
            metadata[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")

    def _ports_read(self, handle) -> Dict[str, tuple]:
        codes = (self._library.tfcc_model_input(handle, i).contents.dtype for i in range(len(self.inputs)))
        return {info.name: (info.name.encode(), info.dtype, code) for info, code in zip(self.inputs, codes)}

    def _tensor_fill(self, tensor: _Tensor, name: str, value) -> tuple:
        """Describes the value; returns what must live until the run is over."""
        port = self._ports.get(name)
        encoded, dtype, code = port if port is not None else (name.encode(), None, 0)
        if type(value) is not numpy.ndarray:
            value = numpy.asarray(value, dtype=dtype)
        flags = value.flags
        if not (flags.c_contiguous and flags.aligned):
            value = numpy.require(value, requirements=("C", "A"))
        shape = value.shape
        dims = (ctypes.c_int64 * len(shape))(*shape)
        tensor.name = encoded
        tensor.dtype = code if value.dtype == dtype else _CODES.get(value.dtype, 0)
        tensor.rank = len(shape)
        tensor.dims = ctypes.addressof(dims)
        tensor.data = value.ctypes.data
        tensor.bytes = value.nbytes
        return value, dims

    def _arrays(self, result: _Result, names: Iterable[str]) -> Dict[str, numpy.ndarray]:
        arrays = {}
        for index, name in enumerate(names):
            tensor = self._library.tfcc_result_output(result.handle, index).contents
            rank = tensor.rank
            shape = tuple((ctypes.c_int64 * rank).from_address(tensor.dims)) if rank else ()
            if tensor.bytes == 0:  # nothing to point at
                arrays[name] = numpy.empty(shape, dtype=_DTYPES[tensor.dtype])
                continue
            view = _View()
            view.result = result
            view.__array_interface__ = {
                "version": 3,
                "shape": shape,
                "typestr": _DTYPES[tensor.dtype].str,
                "data": (tensor.data, False),
            }
            arrays[name] = numpy.asarray(view)
        return arrays

    def run(
        self, inputs: Mapping[str, numpy.ndarray], outputs: Optional[Iterable[str]] = None
    ) -> Dict[str, numpy.ndarray]:
        """Runs the model once: input name -> array, to output name -> array; all outputs, or those named."""
        native = self._native
        if native is None:
            raise Error("invalid", f"model {self.name}: it is closed")
        tensors = (_Tensor * len(inputs))()
        alive = [self._tensor_fill(tensors[i], name, value) for i, (name, value) in enumerate(inputs.items())]
        options, names = None, self._all_outputs
        if outputs is not None:
            names = tuple(outputs)
            wanted = (_Tensor * len(names))(*((name.encode(),) for name in names))
            options = ctypes.byref(_RunOptions(ctypes.sizeof(_RunOptions), wanted, len(names), None))
        handle, error = ctypes.c_void_p(), _Error()
        rc = self._library.tfcc_model_run(
            native.handle, tensors, len(alive), options, ctypes.byref(handle), ctypes.byref(error)
        )
        if rc != 0:
            raise self._runtime.error(error)
        return self._arrays(_Result(handle, self._library.tfcc_result_free), names)

    @property
    def stats(self) -> Dict[str, int]:
        """What was done with this model in this process: loads, inferences, failures, items, run_ns, ..."""
        native, stats = self._native, _Stats()
        if native is None:
            raise Error("invalid", f"model {self.name}: it is closed")
        self._library.tfcc_model_stats(native.handle, stats, ctypes.sizeof(stats))
        return {name: getattr(stats, name) for name, _ in _Stats._fields_}

    def close(self) -> None:
        """Gives the model back, when its last run is over. Arrays that came from it stay valid."""
        self._native = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<tfcc.Model {self.name!r} on {self.device}{', closed' if self._native is None else ''}>"


def version() -> str:
    """The library's version."""
    return _runtime_get().library.tfcc_version().decode()


def engine() -> str:
    """The engine and its version, "onnxruntime 1.32.0"."""
    runtime = _runtime_get()
    return runtime.library.tfcc_runtime_engine(runtime.handle).decode()
