"""Hearth runs quantized language models on x86-64 CPUs. This one file is its Python interface, over libhearth by ctypes.

    import hearth

    with hearth.Engine(ram_cap=600 << 20) as engine, engine.model("model.gguf") as model, model.session() as session:
        session.set_params(temperature=0, max_tokens=40)
        session.feed_text("The hearth", bos=True)
        for text in session.stream():
            print(text, end="", flush=True)

The library is libhearth.so.1 where the loader finds it, or the file that the environment's HEARTH_LIBRARY names.

Objects close with `with`, by close(), or when nothing refers to them any more; closing one closes what stands on it. Engines and
models may be used by any threads; a session by one thread at a time, but for cancel() and resume(), which any thread or signal
handler may call at any time. A call gives other Python threads the interpreter while it computes; Ctrl-C stops an answer at its
next piece of text, a long prompt when it has been read. Failures are exceptions, subclasses of HearthError; every function, option
and limit is explained in hearth.h."""
import array
import contextlib
import ctypes
import os
import queue
import threading
import typing
import weakref
from ctypes import POINTER, c_bool, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

__version__ = "0.1.0"

# ---- hearth.h: constants, structures, functions -------------------------------------------------------------------------

ABI = 1
ARITHMETIC = 1
(OK, E_NOT_FOUND, E_MEMORY, E_CONFIG, E_INFERENCE, E_FORMAT, E_UNSUPPORTED, E_IO, E_STATE, E_CONTEXT_FULL, E_CANCELLED, E_BUSY,
 E_FORKED) = range(13)
FLOAT_GEMM_OWN, FLOAT_GEMM_BLAS = range(2)
PAGES_AUTO, PAGES_4K, PAGES_2M, PAGES_1G = range(4)
VERIFY_FULL, VERIFY_LAZY, VERIFY_OFF = range(3)
KV_F16, KV_F32, KV_Q8_0 = range(3)
TOKENIZE_BOS, TOKENIZE_SPECIAL = 1, 2
LOGIT_BIAS_MAX = 256
DRY_BREAKERS_MAX = 16
(SAMPLER_TOP_N_SIGMA, SAMPLER_TOP_K, SAMPLER_TYPICAL, SAMPLER_TOP_P, SAMPLER_MIN_P, SAMPLER_XTC, SAMPLER_TEMPERATURE) = range(1, 8)
SAMPLER_STEPS = 7
ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL = range(4)
CHAT_REFUSE, CHAT_DROP_OLDEST = range(2)
CHAT_KEY_MAX = 255
CHAT_METADATA_BYTES = 8192
MODEL_REGISTERED, MODEL_RESIDENT, MODEL_CURRENT = range(3)
CONVERSATION_NEW, CONVERSATION_RESTORED, CONVERSATION_LOST = range(3)
TOP_LOGPROBS_MAX = 20
STOP_END, STOP_STRING, STOP_LENGTH, STOP_CONTEXT, STOP_CALLBACK, STOP_CANCELLED = range(6)

_log_fn = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
_progress_fn = ctypes.CFUNCTYPE(c_bool, c_uint64, c_uint64, c_void_p)
_abort_fn = ctypes.CFUNCTYPE(c_bool, c_void_p)
_text_fn = ctypes.CFUNCTYPE(c_bool, c_void_p, c_size_t, c_void_p)
_token_fn = ctypes.CFUNCTYPE(c_bool, c_void_p, c_void_p)
_dropped_fn = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)
_CALLBACKS = {"hearth_log_fn": _log_fn, "hearth_progress_fn": _progress_fn, "hearth_abort_fn": _abort_fn,
              "hearth_text_fn": _text_fn, "hearth_token_fn": _token_fn, "hearth_dropped_fn": _dropped_fn}


class _Options(ctypes.Structure):
    """A structure that begins with its size. ctypes takes fields that there are not, and cuts numbers off; this does not."""

    def __init__(self, **fields):
        super().__init__(struct_size=ctypes.sizeof(self))
        for name, value in fields.items():
            self.set(name, value)

    def set(self, name, value):
        if name == "struct_size" or name not in (field for field, _ in self._fields_):
            raise InvalidConfig("%s: there is no such option" % name)
        try:
            setattr(self, name, value)
        except TypeError as error:
            raise InvalidConfig("%s: %s" % (name, error)) from None
        if isinstance(value, int) and getattr(self, name) != value:
            raise InvalidConfig("%s: out of range (got %d)" % (name, value))


class _error(ctypes.Structure):
    _fields_ = [("code", c_int32), ("detail", c_char * 20), ("needed", c_uint64), ("available", c_uint64),
                ("message", c_char * 400)]


class _allocator(_Options):  # pages from Python would be slow, and too late at its end: not offered
    _fields_ = [("struct_size", c_uint32), ("allocate", c_void_p), ("release", c_void_p), ("user", c_void_p)]


class _engine_options(_Options):
    _fields_ = [("struct_size", c_uint32), ("threads", c_uint32), ("ram_cap", c_uint64), ("log", _log_fn), ("log_user", c_void_p),
                ("float_gemm", c_int32), ("pack_cache", c_char_p), ("progress", _progress_fn), ("progress_user", c_void_p),
                ("abort", _abort_fn), ("abort_user", c_void_p), ("pages", c_int32), ("prefetch_window", c_uint64),
                ("allocator", c_void_p), ("cache_budget", c_uint64), ("verify", c_int32)]


class _limits(_Options):
    _fields_ = [("struct_size", c_uint32), ("context", c_uint32), ("batch", c_uint32), ("kv_type", c_int32),
                ("logits_rows", c_uint32), ("grammar", c_uint32), ("sliding_window", c_uint32), ("chat", c_uint32)]


class _model_options(_Options):
    _fields_ = [("struct_size", c_uint32), ("progress", _progress_fn), ("progress_user", c_void_p)]


class _logit_bias(ctypes.Structure):
    _fields_ = [("token", c_int32), ("bias", c_float)]


class _sampling(_Options):
    _fields_ = [("struct_size", c_uint32), ("top_k", c_int32), ("temperature", c_float), ("top_p", c_float), ("min_p", c_float),
                ("repeat_penalty", c_float), ("repeat_last_n", c_int32), ("seed", c_uint64), ("frequency_penalty", c_float),
                ("presence_penalty", c_float), ("dry_multiplier", c_float), ("dry_base", c_float), ("dry_allowed_length", c_int32),
                ("dry_last_n", c_int32), ("dry_breakers", POINTER(c_char_p)), ("n_dry_breakers", c_uint32), ("typical_p", c_float),
                ("top_n_sigma", c_float), ("xtc_probability", c_float), ("xtc_threshold", c_float), ("dynatemp_range", c_float),
                ("dynatemp_exponent", c_float), ("mirostat", c_int32), ("mirostat_tau", c_float), ("mirostat_eta", c_float),
                ("min_keep", c_uint32), ("n_logit_bias", c_uint32), ("logit_bias", POINTER(_logit_bias)), ("order", c_int32 * 8),
                ("ignore_end", c_bool)]


class _estimate(_Options):
    _fields_ = [("struct_size", c_uint32), ("n_prompt", c_uint32), ("n_needed", c_uint32), ("n_context", c_uint32),
                ("kv_bytes", c_uint64), ("fits", c_bool)]


class _prompt_info(_Options):
    _fields_ = [("struct_size", c_uint32), ("n_kept", c_uint32), ("n_restored", c_uint32), ("n_computed", c_uint32)]


class _logprob(ctypes.Structure):
    _fields_ = [("token", c_int32), ("logprob", c_float)]


class _token(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("id", c_int32), ("text", c_void_p), ("text_bytes", c_size_t), ("logprob", c_float),
                ("n_top", c_uint32), ("top", POINTER(_logprob))]


class _generation(_Options):
    _fields_ = [("struct_size", c_uint32), ("max_tokens", c_uint32), ("stop_strings", POINTER(c_char_p)),
                ("n_stop_strings", c_uint32), ("text", _text_fn), ("text_user", c_void_p), ("ids", POINTER(c_int32)),
                ("ids_capacity", c_size_t), ("keep_special", c_bool), ("token", _token_fn), ("token_user", c_void_p),
                ("logprobs", c_bool), ("n_top_logprobs", c_uint32),
                ("paranoid_every", c_uint32), ("n_checked", POINTER(c_uint32))]


class _result(_Options):
    _fields_ = [("struct_size", c_uint32), ("n_generated", c_uint32), ("stop", c_int32), ("seconds", c_double)]


class _message(_Options):
    _fields_ = [("struct_size", c_uint32), ("role", c_int32), ("number", c_uint64), ("n_tokens", c_uint32), ("text", c_void_p),
                ("text_bytes", c_size_t)]


class _chat_options(_Options):
    _fields_ = [("struct_size", c_uint32), ("chat_template", c_char_p), ("chat_template_bytes", c_size_t), ("family", c_char_p),
                ("when_full", c_int32), ("reserve", c_uint32), ("dropped", _dropped_fn), ("dropped_user", c_void_p),
                ("now", c_int64)]


class _manager_options(_Options):
    _fields_ = [("struct_size", c_uint32), ("state_folder", c_char_p), ("chat", POINTER(_chat_options))]


class _model_info(_Options):
    _fields_ = [("struct_size", c_uint32), ("state", c_int32), ("name", c_char_p), ("path", c_char_p), ("conversation", c_int32),
                ("saved", c_bool), ("resident_bytes", c_uint64), ("plan_bytes", c_uint64), ("last_used", c_uint64)]


class _optimized(_Options):
    _fields_ = [("struct_size", c_uint32), ("n_unloaded", c_uint32), ("bytes_freed", c_uint64), ("weights", c_uint64),
                ("kv", c_uint64), ("cache", c_uint64), ("scratch", c_uint64)]


_STRUCTURES = [_error, _allocator, _engine_options, _limits, _model_options, _logit_bias, _sampling, _estimate, _prompt_info,
               _logprob, _token, _generation, _result, _message, _chat_options, _manager_options, _model_info, _optimized]

_ids = POINTER(c_int32)
_n = POINTER(c_size_t)
_failure = POINTER(_error)
_out = POINTER(c_void_p)
# Name: result, arguments. Handles are c_void_p; texts that may hold NUL go with their length.
_FUNCTIONS = {
    "hearth_version": (c_char_p, []),
    "hearth_abi": (c_int32, []),
    "hearth_status_name": (c_char_p, [c_int32]),
    "hearth_status_exit_code": (c_int32, [c_int32]),
    "hearth_engine_open": (c_int32, [_out, POINTER(_engine_options), _failure]),
    "hearth_engine_close": (None, [c_void_p]),
    "hearth_engine_summary": (c_char_p, [c_void_p]),
    "hearth_engine_threads": (c_uint32, [c_void_p]),
    "hearth_engine_cpu_level": (c_char_p, [c_void_p]),
    "hearth_plan_open": (c_int32, [_out, c_void_p, c_char_p, POINTER(_limits), _failure]),
    "hearth_plan_close": (None, [c_void_p]),
    "hearth_plan_private_bytes": (c_uint64, [c_void_p]),
    "hearth_plan_mapped_bytes": (c_uint64, [c_void_p]),
    "hearth_plan_cap_bytes": (c_uint64, [c_void_p]),
    "hearth_plan_context": (c_uint32, [c_void_p]),
    "hearth_plan_batch": (c_uint32, [c_void_p]),
    "hearth_plan_line_count": (c_size_t, [c_void_p]),
    "hearth_plan_line_name": (c_char_p, [c_void_p, c_size_t]),
    "hearth_plan_line_bytes": (c_uint64, [c_void_p, c_size_t]),
    "hearth_plan_check": (c_int32, [c_void_p, _failure]),
    "hearth_model_open": (c_int32, [_out, c_void_p, c_char_p, POINTER(_limits), POINTER(_model_options), _failure]),
    "hearth_model_open_vocabulary": (c_int32, [_out, c_void_p, c_char_p, _failure]),
    "hearth_model_close": (None, [c_void_p]),
    "hearth_model_vocabulary_size": (c_uint32, [c_void_p]),
    "hearth_model_trained_context": (c_uint32, [c_void_p]),
    "hearth_model_weight_bytes": (c_uint64, [c_void_p]),
    "hearth_model_is_end": (c_bool, [c_void_p, c_int32]),
    "hearth_tokenize": (c_int32, [c_void_p, c_char_p, c_size_t, c_uint32, _ids, c_size_t, _n, _failure]),
    "hearth_tokenize_infill": (c_int32, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, _ids, c_size_t, _n, _failure]),
    "hearth_tokenize_marked": (c_int32, [c_void_p, c_char_p, c_char_p, c_size_t, c_uint32, _ids, c_size_t, _n, _failure]),
    "hearth_detokenize": (c_int32, [c_void_p, _ids, c_size_t, c_void_p, c_size_t, _n, _failure]),
    "hearth_sampling_init": (None, [POINTER(_sampling), c_size_t]),
    "hearth_session_open": (c_int32, [_out, c_void_p, POINTER(_limits), _failure]),
    "hearth_session_close": (None, [c_void_p]),
    "hearth_session_set_sampling": (c_int32, [c_void_p, POINTER(_sampling), _failure]),
    "hearth_session_set_grammar": (c_int32, [c_void_p, c_char_p, c_size_t, _failure]),
    "hearth_session_reset": (None, [c_void_p]),
    "hearth_session_position": (c_uint32, [c_void_p]),
    "hearth_session_context": (c_uint32, [c_void_p]),
    "hearth_session_tokens": (_ids, [c_void_p, POINTER(c_uint32)]),
    "hearth_session_rewind": (c_int32, [c_void_p, c_uint32, _failure]),
    "hearth_session_prompt": (c_int32, [c_void_p, _ids, c_size_t, POINTER(_prompt_info), _failure]),
    "hearth_session_cancel": (None, [c_void_p]),
    "hearth_session_resume": (None, [c_void_p]),
    "hearth_session_set_deadline": (c_int32, [c_void_p, c_double, _failure]),
    "hearth_session_estimate": (c_int32, [c_void_p, c_char_p, c_size_t, c_uint32, c_uint32, POINTER(_estimate), _failure]),
    "hearth_session_feed": (c_int32, [c_void_p, _ids, c_size_t, _failure]),
    "hearth_session_feed_text": (c_int32, [c_void_p, c_char_p, c_size_t, c_uint32, _n, _failure]),
    "hearth_session_logits": (POINTER(c_float), [c_void_p, c_uint32]),
    "hearth_session_sample": (c_int32, [c_void_p, POINTER(c_int32), _failure]),
    "hearth_generate": (c_int32, [c_void_p, POINTER(_generation), POINTER(_result), _failure]),
    "hearth_session_save": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_session_restore": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_chat_open": (c_int32, [_out, c_void_p, POINTER(_chat_options), _failure]),
    "hearth_chat_close": (None, [c_void_p]),
    "hearth_chat_session": (c_void_p, [c_void_p]),
    "hearth_chat_set_system": (c_int32, [c_void_p, c_char_p, c_size_t, _failure]),
    "hearth_chat_add": (c_int32, [c_void_p, c_int32, c_char_p, c_size_t, _failure]),
    "hearth_chat_answer": (c_int32, [c_void_p, POINTER(_generation), POINTER(_result), _failure]),
    "hearth_chat_send": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(_generation), POINTER(_result), _failure]),
    "hearth_chat_prompt_info": (c_int32, [c_void_p, POINTER(_prompt_info), _failure]),
    "hearth_chat_pop": (c_int32, [c_void_p, _failure]),
    "hearth_chat_clear": (None, [c_void_p]),
    "hearth_chat_count": (c_size_t, [c_void_p]),
    "hearth_chat_message": (c_int32, [c_void_p, c_size_t, POINTER(_message), _failure]),
    "hearth_chat_set_metadata": (c_int32, [c_void_p, c_char_p, c_char_p, c_size_t, _failure]),
    "hearth_chat_metadata": (c_void_p, [c_void_p, c_char_p, _n]),
    "hearth_chat_save": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_chat_restore": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_manager_open": (c_int32, [_out, c_void_p, POINTER(_manager_options), _failure]),
    "hearth_manager_close": (None, [c_void_p]),
    "hearth_manager_register": (c_int32, [c_void_p, c_char_p, c_char_p, POINTER(_limits), _failure]),
    "hearth_manager_forget": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_manager_switch": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_manager_load": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_manager_unload": (c_int32, [c_void_p, c_char_p, _failure]),
    "hearth_manager_save": (c_int32, [c_void_p, _failure]),
    "hearth_manager_current": (c_char_p, [c_void_p]),
    "hearth_manager_session": (c_void_p, [c_void_p]),
    "hearth_manager_chat": (c_void_p, [c_void_p]),
    "hearth_manager_model": (c_void_p, [c_void_p]),
    "hearth_manager_count": (c_size_t, [c_void_p]),
    "hearth_manager_info": (c_int32, [c_void_p, c_size_t, POINTER(_model_info), _failure]),
    "hearth_manager_optimize": (c_int32, [c_void_p, POINTER(_optimized), _failure]),
}


def _load():
    name = os.environ.get("HEARTH_LIBRARY") or "libhearth.so.%d" % ABI
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise ImportError("hearth: %s; install libhearth, or name its file in HEARTH_LIBRARY" % error) from None
    for function, (result, arguments) in _FUNCTIONS.items():
        try:
            entry = getattr(library, function)
        except AttributeError:
            raise ImportError("hearth: %s is too old: it has no %s()" % (name, function)) from None
        entry.restype, entry.argtypes = result, arguments
    if library.hearth_abi() != ABI:
        raise ImportError("hearth: %s has another ABI (got %d, need %d)" % (name, library.hearth_abi(), ABI))
    return library


_c = _load()


def version():
    """Version of the library in use."""
    return _c.hearth_version().decode()


# ---- Failures -----------------------------------------------------------------------------------------------------------


class HearthError(Exception):
    """A failure of Hearth. str() is one line; `status` is the number of it (E_...), `detail` names the check that failed; `needed`
    and `available` are bytes or tokens where the class says so, else 0."""

    status = 0

    def __init__(self, message, status=None, detail="", needed=0, available=0):
        super().__init__(message)
        self.status = self.status if status is None else status
        self.detail, self.needed, self.available = detail, needed, available


class ModelNotFound(HearthError):
    """No such file, or no model of that name."""

    status = E_NOT_FOUND


class OutOfMemory(HearthError):
    """Does not fit the memory cap: `needed` and `available` bytes. Nothing was taken."""

    status = E_MEMORY


class InvalidConfig(HearthError):
    """An option or argument is out of its range."""

    status = E_CONFIG


class InferenceError(HearthError):
    """Numbers are not finite, or a kernel failed its self-test."""

    status = E_INFERENCE


class FormatError(HearthError):
    """The model file is damaged or contradicts itself."""

    status = E_FORMAT


class Unsupported(HearthError):
    """The file is valid, but this version does not run it."""

    status = E_UNSUPPORTED


class FileError(HearthError):
    """Reading, writing or mapping failed."""

    status = E_IO


class StateError(HearthError):
    """A saved state is invalid, or of another model."""

    status = E_STATE


class ContextFull(HearthError):
    """More tokens than the context holds: `needed` and `available` tokens."""

    status = E_CONTEXT_FULL


class Cancelled(HearthError):
    """A callback or cancel() asked to stop, or a deadline has passed (detail E_DEADLINE)."""

    status = E_CANCELLED


class Busy(HearthError):
    """The object is in use by another thread."""

    status = E_BUSY


class Forked(HearthError):
    """The process has forked since the engine was opened."""

    status = E_FORKED


_ERRORS = {error.status: error for error in HearthError.__subclasses__()}


def _check(function, *arguments):
    error = _error()
    status = function(*arguments, ctypes.byref(error))
    if status != OK:
        raise _ERRORS.get(status, HearthError)(error.message.decode("utf-8", "replace"), status,
                                               error.detail.decode("ascii", "replace"), error.needed, error.available)


class _Guard:
    """Python functions for C to call, in a `with` around the call. What they raise must not get lost in C: C is told to stop, and
    it is raised behind the call."""

    def __init__(self):
        self.error = None

    def wrap(self, function):
        def call(*arguments):
            if self.error is not None:
                return False
            try:
                return function(*arguments)
            except BaseException as error:  # KeyboardInterrupt too
                self.error = error
                return False

        return call

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.error is not None:
            error, self.error = self.error, None
            raise error


def _text(text):
    """Bytes that end at a NUL."""
    encoded = text.encode()
    if b"\0" in encoded:
        raise InvalidConfig("a text has a NUL byte")
    return encoded


def _texts(texts):
    """An array of texts that end in NUL; it keeps them."""
    return (c_char_p * len(texts))(*map(_text, texts))


def _path(path):
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ModelNotFound("a name has a NUL byte")
    return encoded


# ---- Handles ------------------------------------------------------------------------------------------------------------


class _Handle:
    """A handle of C. It is not closed while a call uses it; closing it closes what stands on it."""

    _destroy = None

    def __init__(self, parent=None):
        self._raw, self._users = None, 0
        self._lock = threading.RLock()  # a signal handler may interrupt its own thread here
        self._children = weakref.WeakSet()
        self._parent = parent  # open as long as we are
        if parent is not None:
            parent._children.add(self)

    @contextlib.contextmanager
    def _use(self):
        with self._lock:
            if self._raw is None:
                raise InvalidConfig("%s: it is closed" % type(self).__name__.lower())
            self._users += 1
        try:
            yield self._raw
        finally:
            with self._lock:
                self._users -= 1

    def close(self):
        """Give everything back. Busy while another thread is inside a call."""
        for child in list(self._children):
            child.close()
        with self._lock:
            if self._users > 0:
                raise Busy("%s: a call is using it" % type(self).__name__.lower())
            raw, self._raw = self._raw, None
        if raw is not None:
            self._destroy(raw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        with contextlib.suppress(Exception):
            self.close()


class Plan(typing.NamedTuple):
    """The memory that a model and a session on it will take. `refusal` is None where it fits, else the OutOfMemory that opening
    would raise, whose text names the cheapest ways to fit."""

    private_bytes: int
    mapped_bytes: int
    cap_bytes: int
    context: int
    batch: int
    lines: list  # of (name, bytes)
    refusal: typing.Optional[OutOfMemory]


_KV_TYPES = {"f16": KV_F16, "f32": KV_F32, "q8_0": KV_Q8_0}


def _make_limits(limits):
    """Keywords of hearth_limits as C has them."""
    limits = dict(limits)
    kv_type = limits.get("kv_type", KV_F16)
    limits["kv_type"] = _KV_TYPES.get(kv_type, kv_type)
    return _limits(**limits)


class Engine(_Handle):
    """Threads and a memory cap, shared by models and sessions.

    ram_cap          bytes that it may take in all; 0: what the machine and its cgroup have available now, less a margin
    threads          workers; 0: one for each physical core within affinity and quota
    pack_cache       folder for packed weights, written once and then mapped
    pages            PAGES_...: pages for the memory of models and sessions
    prefetch_window  bytes of a file that the system is asked for ahead; 0: 64 MiB
    verify           VERIFY_...: when the numbers of weights, and the checksums of a pack cache, are looked at
    cache_budget     bytes for keys and values that sessions give up and Session.prompt() takes up again; 0: none
    log              log(level, line), level 0 for information and 1 for a warning, on the thread that called; what it raises is
    lost"""

    _destroy = _c.hearth_engine_close

    def __init__(self, ram_cap=0, threads=0, pack_cache=None, log=None, float_gemm=FLOAT_GEMM_OWN, pages=PAGES_AUTO,
                 prefetch_window=0, cache_budget=0, verify=VERIFY_FULL):
        super().__init__()

        def hear(level, line, _):
            with contextlib.suppress(Exception):
                log(level, line.decode("utf-8", "replace"))

        self._log = _log_fn(hear) if log else _log_fn()  # C keeps its address
        options = _engine_options(threads=threads, ram_cap=ram_cap, log=self._log, float_gemm=float_gemm, pages=pages,
                                  prefetch_window=prefetch_window, cache_budget=cache_budget, verify=verify,
                                  pack_cache=_path(pack_cache) if pack_cache else None)
        raw = c_void_p()
        _check(_c.hearth_engine_open, ctypes.byref(raw), ctypes.byref(options))
        self._raw = raw.value

    @property
    def summary(self):
        """One sentence on the threads and kernels chosen, and why."""
        with self._use() as raw:
            return _c.hearth_engine_summary(raw).decode("utf-8", "replace")

    @property
    def threads(self):
        """Number of workers."""
        with self._use() as raw:
            return _c.hearth_engine_threads(raw)

    @property
    def cpu_level(self):
        """"reference", "avx2", "avxvnni" or "avx512"."""
        with self._use() as raw:
            return _c.hearth_engine_cpu_level(raw).decode()

    def plan(self, path, **limits):
        """What opening a file and a session on it will take, from its header alone; also when that is too much. Limits as of
        model()."""
        plan = c_void_p()
        with self._use() as raw:
            _check(_c.hearth_plan_open, ctypes.byref(plan), raw, _path(path), ctypes.byref(_make_limits(limits)))
        try:
            lines = [(_c.hearth_plan_line_name(plan, i).decode(), _c.hearth_plan_line_bytes(plan, i))
                     for i in range(_c.hearth_plan_line_count(plan))]
            refusal = None
            try:
                _check(_c.hearth_plan_check, plan)
            except OutOfMemory as error:
                refusal = error
            return Plan(_c.hearth_plan_private_bytes(plan), _c.hearth_plan_mapped_bytes(plan), _c.hearth_plan_cap_bytes(plan),
                        _c.hearth_plan_context(plan), _c.hearth_plan_batch(plan), lines, refusal)
        finally:
            _c.hearth_plan_close(plan)

    def model(self, path, progress=None, **limits):
        """Open a GGUF file; of a split model its first part. The limits are those of the session that will be opened on it, so that
        both are refused together before a weight is read: context, batch, kv_type ("f16", "f32" or "q8_0"), logits_rows, grammar,
        sliding_window, chat. progress(done_bytes, total_bytes) may return False to stop: then Cancelled is raised."""
        return Model(self, path, progress, limits)

    def manager(self, state_folder, **chat):
        """Several models by name under the cap; states of their conversations live in a folder of the manager's own. Options as of
        Session.chat(), for the chats of all models."""
        return Manager(self, state_folder, chat)

    def vocabulary(self, path):
        """Open only the tokenizer of a file."""
        return Model(self, path, None, None)


class Model(_Handle):
    """An opened model, immutable; by Engine.model()."""

    _destroy = _c.hearth_model_close

    def __init__(self, engine, path, progress, limits):
        super().__init__(engine)
        self._limits = limits or {}
        raw = c_void_p()
        with engine._use() as on:
            if limits is None:
                _check(_c.hearth_model_open_vocabulary, ctypes.byref(raw), on, _path(path))
            else:
                guard = _Guard()
                hear = guard.wrap(lambda done, total, _: progress(done, total) is not False)
                options = _model_options(progress=_progress_fn(hear) if progress else _progress_fn())
                with guard:
                    _check(_c.hearth_model_open, ctypes.byref(raw), on, _path(path), ctypes.byref(_make_limits(limits)),
                           ctypes.byref(options))
        self._raw = raw.value

    @property
    def vocabulary_size(self):
        """Tokens in the vocabulary."""
        with self._use() as raw:
            return _c.hearth_model_vocabulary_size(raw)

    @property
    def trained_context(self):
        """Positions that the model was trained for."""
        with self._use() as raw:
            return _c.hearth_model_trained_context(raw)

    @property
    def weight_bytes(self):
        """Bytes of its weights."""
        with self._use() as raw:
            return _c.hearth_model_weight_bytes(raw)

    def is_end(self, token):
        """Whether a token ends an answer."""
        with self._use() as raw:
            return _c.hearth_model_is_end(raw, *_as_ids([token]))

    def _all_ids(self, function, *arguments):
        """Ask how many ids there are, then for all of them."""
        n, capacity = c_size_t(), 64
        with self._use() as raw:
            while True:
                ids = (c_int32 * capacity)()
                try:
                    _check(function, raw, *arguments, ids, capacity, ctypes.byref(n))
                except HearthError:
                    if n.value <= capacity:
                        raise
                    capacity = n.value
                else:
                    return ids[:n.value]

    def tokenize(self, text, bos=False, special=False, from_caller=None):
        """Token ids of a str or bytes. bos: begin as a text begins; special: recognise special tokens spelt in it, never for text
        of strangers, and with from_caller, 0 or 1 for each byte, only where that is 0."""
        text = _encode(text)
        if from_caller is None:
            return self._all_ids(_c.hearth_tokenize, text, len(text), _flags(bos, special))
        if len(from_caller) != len(text):
            raise InvalidConfig("tokenize: marks (got %d, need %d, one a byte)" % (len(from_caller), len(text)))
        return self._all_ids(_c.hearth_tokenize_marked, text, bytes(from_caller), len(text), _flags(bos, special))

    def tokenize_infill(self, prefix, suffix):
        """The prompt with which a fill-in-the-middle model generates what belongs between two texts."""
        prefix, suffix = _encode(prefix), _encode(suffix)
        return self._all_ids(_c.hearth_tokenize_infill, prefix, len(prefix), suffix, len(suffix))

    def detokenize(self, ids):
        """Bytes of text of token ids, which may end inside a character; special tokens give nothing."""
        ids = _as_ids(ids)
        n, capacity = c_size_t(), 16 * len(ids)
        with self._use() as raw:
            while True:
                text = ctypes.create_string_buffer(capacity)
                try:
                    _check(_c.hearth_detokenize, raw, ids, len(ids), text, capacity, ctypes.byref(n))
                except HearthError:
                    if n.value <= capacity:
                        raise
                    capacity = n.value
                else:
                    return text.raw[:n.value]

    def session(self, **limits):
        """Begin a timeline; limits as of Engine.model(), and by default the ones given there."""
        return Session(self, dict(self._limits, **limits))


def _encode(text):
    return text.encode() if isinstance(text, str) else bytes(memoryview(text))


def _flags(bos, special):
    return (TOKENIZE_BOS if bos else 0) | (TOKENIZE_SPECIAL if special else 0)


def _as_count(n):
    if not 0 <= n < 2**32:
        raise InvalidConfig("a number is out of range (got %d, need 0 to %d)" % (n, 2**32 - 1))
    return n


def _as_ids(ids):
    ids = list(ids)
    if not all(-2**31 <= i < 2**31 for i in ids):
        raise InvalidConfig("tokens: an id is no 32-bit number")
    return (c_int32 * len(ids))(*ids)


class Answer(typing.NamedTuple):
    """What was generated: the text, the tokens chosen, the ending one included, why it ended (STOP_...), and how long it took."""

    text: str
    ids: list
    stop: int
    seconds: float


class Estimate(typing.NamedTuple):
    """What a prompt and an answer would need: tokens, positions, and bytes of cache that the plan already holds."""

    n_prompt: int
    n_needed: int
    n_context: int
    kv_bytes: int
    fits: bool


class PromptInfo(typing.NamedTuple):
    """What Session.prompt() has done, in tokens: were there already, came from the prefix cache, were computed."""

    n_kept: int
    n_restored: int
    n_computed: int


class Token(typing.NamedTuple):
    """A token as it was chosen. Its bytes of text may begin or end within a character, and are none for a special token. `logprob`
    is the natural logarithm of its probability by the model's own logits, before grammar, biases and samplers, `top` are the
    likeliest (token, logprob) by the same; None and empty unless asked for."""

    id: int
    text: bytes
    logprob: typing.Optional[float]
    top: list


class _Speaker(_Handle):
    """What answers: a session, or a chat on one."""

    answer = None  #: the last Answer
    _stream = None

    def __init__(self, parent):
        super().__init__(parent)
        self._guard = _Guard()

    def close(self):
        stream = self._stream and self._stream()
        if stream is not None:
            try:
                stream.close()
            except ValueError:  # it is running, on another thread
                raise Busy("%s: a call is using it" % type(self).__name__.lower()) from None
        super().close()

    def _generate(self, session, function, arguments, on_text, on_token=None, logprobs=False, top_logprobs=0):
        """Generate by a function of C, with the arguments that it takes before its last three."""
        pieces = []

        def hear_text(text, size, _):
            piece = ctypes.string_at(text, size).decode("utf-8", "replace")
            pieces.append(piece)
            return on_text is None or on_text(piece) is not False

        def hear_token(token, _):
            t = ctypes.cast(token, POINTER(_token)).contents
            text = ctypes.string_at(t.text, t.text_bytes) if t.text_bytes else b""
            top = [(one.token, one.logprob) for one in t.top[:t.n_top]] if t.n_top else []
            return on_token(Token(t.id, text, t.logprob if logprobs or top_logprobs else None, top)) is not False

        guard, ends = _Guard(), session._ends
        ids = (c_int32 * min(ends.max_tokens or 256, session.context + 1))()
        generation = _generation(max_tokens=ends.max_tokens, stop_strings=ctypes.cast(ends.stop_tokens, POINTER(c_char_p)),
                                 n_stop_strings=len(ends.stop_tokens), text=_text_fn(guard.wrap(hear_text)), ids=ids,
                                 ids_capacity=len(ids), keep_special=ends.keep_special, logprobs=bool(logprobs or top_logprobs),
                                 n_top_logprobs=top_logprobs, token=_token_fn(guard.wrap(hear_token)) if on_token else _token_fn())
        result = _result()
        with self._use() as raw, self._guard, guard:
            _check(function, raw, *arguments, ctypes.byref(generation), ctypes.byref(result))
        self.answer = Answer("".join(pieces), ids[:result.n_generated], result.stop, result.seconds)
        return self.answer

    def _begin_stream(self, generate):
        stream = _pieces(generate)
        self._stream = weakref.ref(stream)
        return stream


def _pieces(generate):
    """generate(on_text) as a generator. The answer is made on a thread; either it or the caller runs."""
    pieces, goes_on = queue.SimpleQueue(), queue.SimpleQueue()

    def show(piece):
        pieces.put(piece)
        return goes_on.get()

    def work():
        try:
            pieces.put(generate(show))
        except BaseException as error:
            pieces.put(error)

    thread = threading.Thread(target=work, name="hearth", daemon=True)
    thread.start()
    running = True
    try:
        while True:
            piece = pieces.get()
            running = isinstance(piece, str)
            if isinstance(piece, BaseException):
                raise piece
            if not running:
                return
            yield piece
            goes_on.put(True)
    finally:
        if running:
            goes_on.put(False)
        thread.join()


class _Ends(typing.NamedTuple):
    """Where answers end, and how they are shown."""

    max_tokens: int = 256
    stop_tokens: typing.Any = _texts([])
    keep_special: bool = False


class Session(_Speaker):
    """One timeline of tokens on a model; by Model.session(), or a manager's."""

    _destroy = _c.hearth_session_close

    def __init__(self, model, limits):
        super().__init__(model)
        self.model, self._ends = model, _Ends()
        raw = c_void_p()
        with model._use() as on:
            _check(_c.hearth_session_open, ctypes.byref(raw), on, ctypes.byref(_make_limits(limits)))
        self._raw = raw.value

    def set_params(self, max_tokens=256, stop_tokens=(), keep_special=False, dry_breakers=None, logit_bias=None, order=(),
                   **sampling):
        """Set how tokens are chosen and where answers end, and restart the random stream from the seed; what is not named has the
        default.

        max_tokens    the longest answer; 2**32 - 1: until the context is full
        stop_tokens   texts that end an answer, found across token borders; they are not shown
        keep_special  show special tokens by their names
        dry_breakers  texts; None for the library's
        logit_bias    {token: what is added to its logit}
        order         samplers, SAMPLER_...
        and temperature, top_k, top_p, min_p, seed and the other numbers of hearth_sampling."""
        ends = _Ends(_as_count(max_tokens), _texts([stop_tokens] if isinstance(stop_tokens, str) else stop_tokens), keep_special)
        options = _sampling()
        _c.hearth_sampling_init(ctypes.byref(options), ctypes.sizeof(options))
        for name, value in sampling.items():
            options.set(name, value)
        if dry_breakers is not None:
            breakers = _texts(dry_breakers)
            options.dry_breakers, options.n_dry_breakers = ctypes.cast(breakers, POINTER(c_char_p)), len(breakers)
        biases = (_logit_bias * len(logit_bias or {}))(*(logit_bias or {}).items())
        options.logit_bias, options.n_logit_bias = ctypes.cast(biases, POINTER(_logit_bias)), len(biases)
        if len(order) > len(options.order):
            raise InvalidConfig("params: order: too many samplers (got %d, need at most %d)" % (len(order), len(options.order)))
        for i, sampler in enumerate(order):
            options.order[i] = sampler
        with self._use() as raw:
            _check(_c.hearth_session_set_sampling, raw, ctypes.byref(options))
        self._ends = ends

    def set_grammar(self, grammar):
        """From here on the text must follow a grammar in GBNF; needs grammar=True in the limits. None drops it."""
        text = None if grammar is None else _encode(grammar)
        with self._use() as raw:
            _check(_c.hearth_session_set_grammar, raw, text, len(text or b""))

    def set_deadline(self, seconds):
        """Calls that still compute so many seconds from now raise Cancelled; None or 0: no deadline."""
        with self._use() as raw:
            _check(_c.hearth_session_set_deadline, raw, seconds or 0.0)

    def cancel(self):
        """Stop what is being computed within a layer: Cancelled is raised there, and by all calls until resume(). From any thread
        or signal handler; nothing where the session is closed."""
        with self._lock:
            _c.hearth_session_cancel(self._raw)

    def resume(self):
        """Let a cancelled session go on from where it stands."""
        with self._lock:
            _c.hearth_session_resume(self._raw)

    def reset(self):
        """Forget all tokens, and the grammar."""
        with self._use() as raw:
            _c.hearth_session_reset(raw)

    @property
    def position(self):
        """Tokens in the context."""
        with self._use() as raw:
            return _c.hearth_session_position(raw)

    @property
    def context(self):
        """How many tokens the context can hold."""
        with self._use() as raw:
            return _c.hearth_session_context(raw)

    def estimate(self, text, n_answer, bos=False, special=False):
        """What a prompt and an answer would need here, before anything is computed."""
        text, e = _encode(text), _estimate()
        with self._use() as raw:
            _check(_c.hearth_session_estimate, raw, text, len(text), _flags(bos, special), _as_count(n_answer), ctypes.byref(e))
        return Estimate(e.n_prompt, e.n_needed, e.n_context, e.kv_bytes, e.fits)

    def feed(self, ids):
        """Append tokens and compute them."""
        ids = _as_ids(ids)
        with self._use() as raw:
            _check(_c.hearth_session_feed, raw, ids, len(ids))

    def feed_text(self, text, bos=False, special=False):
        """Tokenize and feed; the number of tokens. Options as of Model.tokenize()."""
        text, n = _encode(text), c_size_t()
        with self._use() as raw:
            _check(_c.hearth_session_feed_text, raw, text, len(text), _flags(bos, special), ctypes.byref(n))
        return n.value

    def logits(self, back=0):
        """Logits of the position so many places before the last one fed, a copy as array("f"); None where they were not kept."""
        n = self.model.vocabulary_size
        with self._use() as raw:
            logits = _c.hearth_session_logits(raw, _as_count(back))
            return array.array("f", ctypes.string_at(logits, n * ctypes.sizeof(c_float))) if logits else None

    def sample(self):
        """Choose the next token from the last logits; it is not fed."""
        token = c_int32()
        with self._use() as raw:
            _check(_c.hearth_session_sample, raw, ctypes.byref(token))
        return token.value

    def tokens(self):
        """The tokens in the context, first to last. The last one of an answer that was cut off is not among them until computed."""
        n = c_uint32()
        with self._use() as raw:
            ids = _c.hearth_session_tokens(raw, ctypes.byref(n))
            return ids[:n.value]

    def rewind(self, position):
        """Forget the tokens from a position on, as if they had never been fed; feed before sampling."""
        with self._use() as raw:
            _check(_c.hearth_session_rewind, raw, _as_count(position))

    def prompt(self, ids):
        """Make ids the whole content and compute only what is new: the longest beginning that is there already is kept."""
        ids, info = _as_ids(ids), _prompt_info()
        with self._use() as raw:
            _check(_c.hearth_session_prompt, raw, ids, len(ids), ctypes.byref(info))
        return PromptInfo(info.n_kept, info.n_restored, info.n_computed)

    def generate(self, on_text=None, on_token=None, logprobs=False, top_logprobs=0):
        """Continue the text; an Answer. on_text(text) receives it as it comes, in whole characters, and stops it by returning
        False; what it raises stops it, too, and is raised here. on_token(Token) is told each token as it is chosen, before its text
        can be shown, and stops it likewise; with logprobs it learns the token's probability, with top_logprobs also that of so many
        of the likeliest, at most 20. An answer in pieces is the answer in one: the next call goes on where this one stopped."""
        return self._generate(self, _c.hearth_generate, (), on_text, on_token, logprobs, top_logprobs)

    def stream(self):
        """generate() as a generator of pieces of text; its Answer is in `answer` when it is exhausted. Nothing is computed while
        the caller works on a piece, and leaving the loop stops the answer there, so that the session stands where the caller saw it
        stand."""
        return self._begin_stream(self.generate)

    def save(self, path):
        """Write the session to a file, whole or not at all, for restore() to go on from with the same bits. Not the grammar, nor
        max_tokens, stop_tokens and keep_special."""
        with self._use() as raw:
            _check(_c.hearth_session_save, raw, _path(path))

    def restore(self, path):
        """Become what was saved. A damaged or foreign file is a StateError, and nothing has changed."""
        with self._use() as raw:
            _check(_c.hearth_session_restore, raw, _path(path))

    def chat(self, chat_template=None, family=None, when_full=CHAT_REFUSE, reserve=0, dropped=None, now=0):
        """Begin a conversation on the session, which is the Chat's until that is closed; needs chat=True in the limits.

        chat_template  Jinja; None: the model's
        family         "chatml", "llama2", "alpaca" or "phi2" in place of a template; None: by the model
        when_full      CHAT_REFUSE: ContextFull is raised; CHAT_DROP_OLDEST: the oldest messages go
        reserve        positions that a prompt leaves free for its answer; 0: 256, or a quarter of the context if that is less
        dropped        dropped(Message) is told of each message that is about to go
        now            local time as seconds since 1970, for templates that tell the date; 0: the clock"""
        return Chat(self, _ChatOptions(chat_template, family, when_full, reserve, dropped, now))


class Message(typing.NamedTuple):
    """One message: ROLE_..., its number over the life of the chat, the tokens of its text alone, the text."""

    role: int
    number: int
    n_tokens: int
    text: str


def _as_message(m):
    text = ctypes.string_at(m.text, m.text_bytes).decode("utf-8", "replace") if m.text_bytes else ""
    return Message(m.role, m.number, m.n_tokens, text)


class _ChatOptions:
    """Options as C has them, and what they point to. C keeps some of it."""

    def __init__(self, chat_template=None, family=None, when_full=CHAT_REFUSE, reserve=0, dropped=None, now=0):
        self.guard = _Guard()
        tell = self.guard.wrap(lambda message, _: dropped(_as_message(ctypes.cast(message, POINTER(_message)).contents)))
        template = None if chat_template is None else _encode(chat_template)
        self.c = _chat_options(chat_template=template, chat_template_bytes=len(template or b""), when_full=when_full,
                               family=None if family is None else _text(family), reserve=reserve, now=now,
                               dropped=_dropped_fn(tell) if dropped else _dropped_fn())


class Chat(_Speaker):
    """A conversation: messages, written down by the model's chat template for each answer; by Session.chat(), or a manager's."""

    _destroy = _c.hearth_chat_close

    def __init__(self, session, options):
        super().__init__(session)
        self.session, self._options, self._guard = session, options, options.guard
        raw = c_void_p()
        with session._use() as on:
            _check(_c.hearth_chat_open, ctypes.byref(raw), on, ctypes.byref(options.c))
        self._raw = raw.value

    @property
    def max_length(self):
        """Positions that the conversation may take in all."""
        return self.session.context

    @property
    def current_length(self):
        """Positions that the model has of it now."""
        return self.session.position

    def set_system(self, text):
        """What the model is told first; None takes it away."""
        text = None if text is None else _encode(text)
        with self._use() as raw, self._guard:
            _check(_c.hearth_chat_set_system, raw, text, len(text or b""))

    def add(self, role, text):
        """Append a message of ROLE_USER, ROLE_ASSISTANT or ROLE_TOOL."""
        text = _encode(text)
        with self._use() as raw, self._guard:
            _check(_c.hearth_chat_add, raw, role, text, len(text))

    def ask(self, on_text=None, on_token=None, logprobs=False, top_logprobs=0):
        """Let the model answer, and append the answer, also one cut short; an Answer. Parameters as of Session.generate()."""
        return self._generate(self.session, _c.hearth_chat_answer, (), on_text, on_token, logprobs, top_logprobs)

    def send(self, text, on_text=None, on_token=None, logprobs=False, top_logprobs=0):
        """Add a user's message and ask(). After a failure before anything was said the message is taken back."""
        text = _encode(text)
        return self._generate(self.session, _c.hearth_chat_send, (text, len(text)), on_text, on_token, logprobs, top_logprobs)

    def stream(self, text=None):
        """send(), or without a text ask(), as a generator of pieces of text, as Session.stream() is."""
        return self._begin_stream(self.ask if text is None else lambda on_text: self.send(text, on_text))

    @property
    def prompt_info(self):
        """How the last prompt was made."""
        info = _prompt_info()
        with self._use() as raw:
            _check(_c.hearth_chat_prompt_info, raw, ctypes.byref(info))
        return PromptInfo(info.n_kept, info.n_restored, info.n_computed)

    def pop(self):
        """Take the newest message away, but not the system's; this and ask() answer once more."""
        with self._use() as raw:
            _check(_c.hearth_chat_pop, raw)

    def clear(self):
        """Take all messages away but the system's. Metadata stays."""
        with self._use() as raw:
            _c.hearth_chat_clear(raw)

    @property
    def messages(self):
        """All messages: the system's first, then oldest to newest."""
        messages, m = [], _message()
        with self._use() as raw:
            for i in range(_c.hearth_chat_count(raw)):
                _check(_c.hearth_chat_message, raw, i, ctypes.byref(m))
                messages.append(_as_message(m))
        return messages

    def set_metadata(self, key, value):
        """Note something (str or bytes) beside the conversation, such as a title; None deletes the key."""
        value = None if value is None else _encode(value)
        with self._use() as raw:
            _check(_c.hearth_chat_set_metadata, raw, _text(key), value, len(value or b""))

    def metadata(self, key):
        """What was noted, as bytes, or None."""
        n = c_size_t()
        with self._use() as raw:
            value = _c.hearth_chat_metadata(raw, _text(key), ctypes.byref(n))
            return ctypes.string_at(value, n.value) if value else None

    def save(self, path):
        """Write session, messages and metadata to a file, as Session.save()."""
        with self._use() as raw:
            _check(_c.hearth_chat_save, raw, _path(path))

    def restore(self, path):
        """Go on with a conversation that was saved, as Session.restore()."""
        with self._use() as raw:
            _check(_c.hearth_chat_restore, raw, _path(path))


class ModelInfo(typing.NamedTuple):
    """A registered model: where it is (MODEL_...), what became of its conversation (CONVERSATION_...) and whether that is saved,
    bytes held now and at most, and when it was used last: the larger, the later."""

    name: str
    path: str
    state: int
    conversation: int
    saved: bool
    resident_bytes: int
    plan_bytes: int
    last_used: int


class Optimized(typing.NamedTuple):
    """What Manager.optimize() gave back: private memory by the kernel's count, and what was given up by the plan."""

    bytes_freed: int
    weights: int
    kv: int
    cache: int
    scratch: int
    n_unloaded: int


class Manager(_Handle):
    """Several models by name under the engine's cap, one of them current; by Engine.manager(). Idle ones leave where memory is
    needed, and their conversations go on, when they are back, as if never interrupted. One thread at a time.

    `session` and `model` are the current one's, or None; they are closed by the next switch, load, unload, forget and register.
    What set_params() says of max_tokens, stop_tokens and keep_special holds for the sessions of all models."""

    _destroy = _c.hearth_manager_close

    def __init__(self, engine, state_folder, chat):
        super().__init__(engine)
        self.session = self.chat = self.model = None
        self._options = _ChatOptions(**chat)
        self._ends = _Ends()
        raw = c_void_p()
        options = _manager_options(state_folder=_path(state_folder), chat=ctypes.pointer(self._options.c))
        with engine._use() as on:
            _check(_c.hearth_manager_open, ctypes.byref(raw), on, ctypes.byref(options))
        self._raw = raw.value

    def _change(self, function, name, *arguments):
        """A call that may close sessions: nobody has one meanwhile."""
        with self._use() as raw:
            if self.model is not None:
                self._ends = self.session._ends
                self.model.close()
            try:
                _check(function, raw, _text(name), *arguments)
            finally:
                self._take(_c.hearth_manager_model(raw), _c.hearth_manager_session(raw), _c.hearth_manager_chat(raw))

    def _take(self, model, session, chat):
        """The current one's from here on."""
        self.session = self.chat = self.model = None
        if model:
            self.model = _lend(Model, self, model, _limits={})
            self.session = _lend(Session, self.model, session, model=self.model, _ends=self._ends, _guard=_Guard())
        if chat:
            self.chat = _lend(Chat, self.session, chat, session=self.session, _guard=self._options.guard)

    def register(self, name, path, **limits):
        """Make a model known by a name of letters, digits, ".", "_" and "-". What cannot run is refused here. Limits as of
        Engine.model()."""
        self._change(_c.hearth_manager_register, name, _path(path), ctypes.byref(_make_limits(limits)))

    def forget(self, name):
        """Unload it and take its name back; its state stays in the folder."""
        self._change(_c.hearth_manager_forget, name)

    def switch(self, name):
        """Make it current, loading it first where it is not resident; the session. What does not fit, or is not there, is refused
        before the current one is given up."""
        self._change(_c.hearth_manager_switch, name)
        return self.session

    def load(self, name):
        """Make it resident, so that a later switch is quick; the current one never leaves for it."""
        self._change(_c.hearth_manager_load, name)

    def unload(self, name):
        """Save its conversation and close it."""
        self._change(_c.hearth_manager_unload, name)

    def save(self):
        """Save every conversation that has changed. Closing does so, too, but cannot say whether it went well."""
        with self._use() as raw:
            _check(_c.hearth_manager_save, raw)

    @property
    def current(self):
        """Name of the current model, or None."""
        with self._use() as raw:
            name = _c.hearth_manager_current(raw)
            return name.decode() if name else None

    @property
    def models(self):
        """All registered models, in the order of registration."""
        models, m = [], _model_info()
        with self._use() as raw:
            for i in range(_c.hearth_manager_count(raw)):
                _check(_c.hearth_manager_info, raw, i, ctypes.byref(m))
                models.append(ModelInfo(m.name.decode(), os.fsdecode(m.path), m.state, m.conversation, m.saved, m.resident_bytes,
                                        m.plan_bytes, m.last_used))
        return models

    def optimize(self):
        """Give memory back to the system: idle models leave, and what the current one holds but does not use; an Optimized."""
        o = _optimized()
        with self._use() as raw:
            _check(_c.hearth_manager_optimize, raw, ctypes.byref(o))
        return Optimized(o.bytes_freed, o.weights, o.kv, o.cache, o.scratch, o.n_unloaded)


def _lend(kind, parent, raw, **attributes):
    """A handle that is somebody else's to close."""
    handle = kind.__new__(kind)
    _Handle.__init__(handle, parent)
    handle.__dict__.update(attributes, _raw=raw, _destroy=lambda raw: None)
    return handle
