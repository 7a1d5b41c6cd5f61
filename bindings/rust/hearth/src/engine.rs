//! The engine: workers and the memory cap; and the plan, which tells what a model will take.
use crate::error::{check, open, LLMError, Result};
use crate::guard::{self, Held};
use crate::text::{c_path, size_of, text_of};
use hearth_sys as sys;
use std::os::raw::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What Hearth may take of the machine's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Bytes that the engine may take in all; 0: what the machine and its cgroup have available now, less a margin.
    pub max_ram_usage: u64,
    pub page_size: PageSize,
    /// Bytes of a file that the system is asked for ahead of what is being read; 0: 64 MiB.
    pub prefetch_size: u64,
    /// Bytes for keys and values that sessions give up and [`Session::prompt`](crate::Session::prompt) takes up again,
    /// conversations too; 0: none.
    pub cache_size: u64,
}

/// Pages for the memory of models and sessions; where the system has too few of a kind the next smaller one serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum PageSize {
    /// 2 MiB where the system gives transparent huge pages.
    #[default]
    Auto = sys::HEARTH_PAGES_AUTO,
    /// 4 KiB alone.
    Small = sys::HEARTH_PAGES_4K,
    /// Hugetlb pages of 2 MiB.
    Large = sys::HEARTH_PAGES_2M,
    /// Hugetlb pages of 1 GiB for whole GiB.
    Huge = sys::HEARTH_PAGES_1G,
}

/// When the numbers of weights, and the checksums of a pack cache, are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum Verify {
    /// Before a model is open.
    #[default]
    Full = sys::HEARTH_VERIFY_FULL,
    /// A pack cache only before its model first computes.
    Lazy = sys::HEARTH_VERIFY_LAZY,
    /// Never: a bad number is [`LLMError::InferenceError`] from the computation that meets it.
    Off = sys::HEARTH_VERIFY_OFF,
}

/// Severity of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Information,
    Warning,
}

type Log = Box<dyn Fn(Level, &str) + Send + Sync>;
type Progress = Box<dyn Fn(u64, u64) -> bool + Send + Sync>;

/// Options of an [`Engine`]; the default is right for most.
#[derive(Default)]
pub struct EngineOptions {
    pub memory: MemoryConfig,
    /// Workers; 0: one for each physical core within affinity and cgroup quota.
    pub threads: u32,
    /// Folder for packed weights, written once and then mapped. Only this user should be able to write to it.
    pub pack_cache: Option<PathBuf>,
    pub verify: Verify,
    /// Receives lines of information, on the thread that called.
    pub log: Option<Log>,
    /// Told how many bytes of how many are done while a model is opened that names no such closure itself, on the thread that
    /// called; false stops with [`LLMError::Cancelled`].
    pub progress: Option<Progress>,
    /// While it is true, whatever the engine computes or opens ends with [`LLMError::Cancelled`], within a layer.
    pub abort: Option<Arc<AtomicBool>>,
}

impl From<MemoryConfig> for EngineOptions {
    fn from(memory: MemoryConfig) -> Self {
        EngineOptions { memory, ..Default::default() }
    }
}

/// The threads and the memory cap that models and sessions share. A clone is the same engine. `Send` and `Sync`.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    raw: *mut sys::hearth_engine,
    _heard: Held<Heard>,
}

// SAFETY: every function of an engine is thread-safe or takes the engine's lock; closing it is left to the last clone. What is
// heard is Send and Sync itself.
unsafe impl Send for Inner {}
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: models and sessions hold clones, so none of them is open any more.
        unsafe { sys::hearth_engine_close(self.raw) }
    }
}

/// What C calls.
struct Heard {
    log: Option<Log>,
    progress: Option<Progress>,
    abort: Option<Arc<AtomicBool>>,
}

unsafe extern "C" fn log(level: i32, message: *const c_char, user: *mut c_void) {
    let heard = &*(user as *const Heard);
    let level = if level == 0 { Level::Information } else { Level::Warning };
    if let Some(log) = &heard.log {
        guard::call((), || log(level, &text_of(message)));
    }
}

unsafe extern "C" fn progress(done: u64, total: u64, user: *mut c_void) -> bool {
    let heard = &*(user as *const Heard);
    heard.progress.as_ref().map_or(true, |progress| guard::call(false, || progress(done, total)))
}

/// On a worker, whose stack is small: nothing that could panic.
unsafe extern "C" fn abort(user: *mut c_void) -> bool {
    let heard = &*(user as *const Heard);
    heard.abort.as_ref().map_or(false, |abort| abort.load(Ordering::Relaxed))
}

impl Engine {
    /// Choose and check kernels, start the workers. Takes some milliseconds.
    pub fn open(options: impl Into<EngineOptions>) -> Result<Self> {
        let options = options.into();
        // SAFETY: takes nothing.
        let abi = unsafe { sys::hearth_abi() };
        if abi != sys::HEARTH_ABI {
            let message = format!("libhearth: another ABI than these bindings were made for (got {abi}, need {})", sys::HEARTH_ABI);
            return Err(LLMError::Unsupported { message });
        }
        let pack_cache = options.pack_cache.as_deref().map(c_path).transpose()?;
        let (log_it, tell, stop) = (options.log.is_some(), options.progress.is_some(), options.abort.is_some());
        let heard = Held::new(Heard { log: options.log, progress: options.progress, abort: options.abort });
        let user = heard.user();
        let c = sys::hearth_engine_options {
            struct_size: size_of::<sys::hearth_engine_options>(),
            threads: options.threads,
            ram_cap: options.memory.max_ram_usage,
            log: log_it.then_some(log as sys::hearth_log_fn),
            log_user: user,
            progress: tell.then_some(progress as sys::hearth_progress_fn),
            progress_user: user,
            abort: stop.then_some(abort as sys::hearth_abort_fn),
            abort_user: user,
            pages: options.memory.page_size as i32,
            prefetch_window: options.memory.prefetch_size,
            cache_budget: options.memory.cache_size,
            verify: options.verify as i32,
            pack_cache: pack_cache.as_ref().map_or(std::ptr::null(), |path| path.as_ptr()),
            ..Default::default()
        };
        // SAFETY: what `c` points to outlives the call, and what the engine hears of lives as long as it.
        open(
            |out, error| unsafe { sys::hearth_engine_open(out, &c, error) },
            |raw| Engine { inner: Arc::new(Inner { raw, _heard: heard }) },
        )
    }

    pub(crate) fn raw(&self) -> *mut sys::hearth_engine {
        self.inner.raw
    }

    /// One sentence on the threads and kernels chosen, and why.
    pub fn summary(&self) -> String {
        // SAFETY: an open engine; its text ends in NUL. So below.
        unsafe { text_of(sys::hearth_engine_summary(self.raw())) }
    }

    /// Number of workers.
    pub fn threads(&self) -> u32 {
        unsafe { sys::hearth_engine_threads(self.raw()) }
    }

    /// "reference", "avx2", "avxvnni" or "avx512".
    pub fn cpu_level(&self) -> String {
        unsafe { text_of(sys::hearth_engine_cpu_level(self.raw())) }
    }

    /// What opening this file and a session on it will take, from the file's header alone; also when that is too much.
    pub fn plan(&self, path: impl AsRef<Path>, limits: &Limits) -> Result<Plan> {
        let path = c_path(path.as_ref())?;
        let mut plan = std::ptr::null_mut();
        // SAFETY: an open engine, a path that ends in NUL. So below, with an open plan.
        check(|error| unsafe { sys::hearth_plan_open(&mut plan, self.raw(), path.as_ptr(), &limits.to_c(), error) })?;
        let read = unsafe {
            Plan {
                private_bytes: sys::hearth_plan_private_bytes(plan),
                mapped_bytes: sys::hearth_plan_mapped_bytes(plan),
                cap_bytes: sys::hearth_plan_cap_bytes(plan),
                context: sys::hearth_plan_context(plan),
                batch: sys::hearth_plan_batch(plan),
                lines: (0..sys::hearth_plan_line_count(plan))
                    .map(|i| (text_of(sys::hearth_plan_line_name(plan, i)), sys::hearth_plan_line_bytes(plan, i)))
                    .collect(),
                fits: check(|error| sys::hearth_plan_check(plan, error)),
            }
        };
        unsafe { sys::hearth_plan_close(plan) };
        Ok(read)
    }
}

/// The memory that a model and a session on it will take.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes of private memory that the whole process will take: the sum of the lines.
    pub private_bytes: u64,
    /// Bytes of file mapping, of packed weights, not held against the cap.
    pub mapped_bytes: u64,
    /// The cap that the plan is held against.
    pub cap_bytes: u64,
    /// Positions and batch after defaults.
    pub context: u32,
    pub batch: u32,
    /// Name and bytes of each line.
    pub lines: Vec<(String, u64)>,
    /// Whether it fits; else `OutOfMemory`, whose message names the cheapest ways to fit.
    pub fits: Result<()>,
}

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum KvType {
    #[default]
    F16 = sys::HEARTH_KV_F16,
    F32 = sys::HEARTH_KV_F32,
    /// Half of F16, and faster over long contexts.
    Q8_0 = sys::HEARTH_KV_Q8_0,
}

/// What a session may hold; zero is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Positions; 0: min(4096, trained context).
    pub context: u32,
    /// Tokens computed together while reading a prompt; 0: 512.
    pub batch: u32,
    pub kv_type: KvType,
    /// Positions of one batch whose logits are kept; 0: the last one's.
    pub logits_rows: u32,
    /// Room for a grammar.
    pub grammar: bool,
    /// Keep to the window that a file of architecture `llama` states.
    pub sliding_window: bool,
    /// Room for a [`Context`](crate::Context).
    pub chat: bool,
}

impl Limits {
    pub(crate) fn to_c(&self) -> sys::hearth_limits {
        sys::hearth_limits {
            struct_size: size_of::<sys::hearth_limits>(),
            context: self.context,
            batch: self.batch,
            kv_type: self.kv_type as i32,
            logits_rows: self.logits_rows,
            grammar: self.grammar.into(),
            sliding_window: self.sliding_window.into(),
            chat: self.chat.into(),
        }
    }
}

/// Version of the library in use, such as "0.1.0".
pub fn version() -> String {
    // SAFETY: static text that ends in NUL.
    unsafe { text_of(sys::hearth_version()) }
}
