//! Several models by name under one cap.
use crate::context::{CallerOptions, Context, ContextOptions};
use crate::engine::{Engine, Limits};
use crate::error::{check, open, Result};
use crate::guard;
use crate::model::ModelView;
use crate::session::{Canceller, Core, Session};
use crate::text::{c_path, c_text, path_of, size_of, text_of};
use hearth_sys as sys;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// Where a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// In no memory.
    Registered,
    Resident,
    Current,
}

/// What became of a model's conversation when it was loaded last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// There was no state.
    New,
    /// It goes on from its state.
    Restored,
    /// Its state did not serve, and is kept as `NAME.state.bad`.
    Lost,
}

/// A registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    pub name: String,
    pub path: PathBuf,
    pub residence: Residence,
    pub conversation: Conversation,
    /// The conversation as it stands lies in its state.
    pub saved: bool,
    /// Bytes of the cap that model and session hold now.
    pub resident_bytes: u64,
    /// The most they take of it, loading included.
    pub plan_bytes: u64,
    /// The larger, the later; 0: never.
    pub last_used: u64,
}

/// What [`ModelManager::optimize_memory`] gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optimized {
    /// Idle models that left.
    pub n_unloaded: u32,
    /// Private memory by the kernel's count, before less after.
    pub bytes_freed: u64,
    /// What was given up, by the plan.
    pub weights: u64,
    pub kv: u64,
    pub cache: u64,
    pub scratch: u64,
}

/// Several models by name under the engine's cap, one of them current. Idle ones leave where memory is needed, and their
/// conversations go on, when they are back, as if never interrupted. `Send`, but not `Sync`: one thread at a time.
pub struct ModelManager {
    raw: *mut sys::hearth_manager,
    core: Core, // of the current model, NULL where there is none
    model: ModelView,
    _contexts: CallerOptions,
    _engine: Engine,
}

// SAFETY: a manager may be used by one thread after the other.
unsafe impl Send for ModelManager {}

impl Drop for ModelManager {
    fn drop(&mut self) {
        self.core.become_session(std::ptr::null_mut());
        // SAFETY: open, and what it has lent has ended with our borrows.
        unsafe { sys::hearth_manager_close(self.raw) }
        guard::forget(); // of the log
    }
}

impl ModelManager {
    /// States of conversations live in a folder of this manager's own, made where it is missing.
    pub fn open(engine: &Engine, state_folder: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(engine, state_folder, ContextOptions::default())
    }

    /// As [`ModelManager::open`], with options of the contexts of all models.
    pub fn open_with(engine: &Engine, state_folder: impl AsRef<Path>, contexts: ContextOptions) -> Result<Self> {
        let folder = c_path(state_folder.as_ref())?;
        let contexts = CallerOptions::new(contexts)?;
        let options = sys::hearth_manager_options {
            struct_size: size_of::<sys::hearth_manager_options>(),
            state_folder: folder.as_ptr(),
            chat: contexts.as_ptr(),
        };
        // SAFETY: an open engine, which we keep open, and options, which we keep.
        open(
            |out, error| unsafe { sys::hearth_manager_open(out, engine.raw(), &options, error) },
            |raw| ModelManager {
                raw,
                core: Core::new(std::ptr::null_mut()),
                model: ModelView::new(std::ptr::null_mut()),
                _contexts: contexts,
                _engine: engine.clone(),
            },
        )
    }

    /// A call that may close sessions: nobody cancels one meanwhile, and afterwards it may be another.
    fn change(
        &mut self,
        name: &str,
        call: impl FnOnce(*mut sys::hearth_manager, &CString, *mut sys::hearth_error) -> sys::hearth_status,
    ) -> Result<()> {
        let name = c_text("name", name)?;
        let raw = self.raw;
        self.core.become_session(std::ptr::null_mut());
        // SAFETY: an open manager, nobody else's while we have `&mut self`. So everywhere below.
        check(|error| {
            let status = call(raw, &name, error);
            self.core.become_session(unsafe { sys::hearth_manager_session(raw) });
            self.model = ModelView::new(unsafe { sys::hearth_manager_model(raw) });
            status
        })
    }

    /// Make a model known by a name of letters, digits, `.`, `_` and `-`. What cannot run is refused here.
    pub fn register(&mut self, name: &str, path: impl AsRef<Path>, limits: &Limits) -> Result<()> {
        let path = c_path(path.as_ref())?;
        self.change(name, |manager, name, error| unsafe {
            sys::hearth_manager_register(manager, name.as_ptr(), path.as_ptr(), &limits.to_c(), error)
        })
    }

    /// Unload it and take its name back; its state stays in the folder.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        self.change(name, |manager, name, error| unsafe { sys::hearth_manager_forget(manager, name.as_ptr(), error) })
    }

    /// Make it current, loading it first where it is not resident; what does not fit, or is not there, is refused before the
    /// current one is given up.
    pub fn switch_model(&mut self, name: &str) -> Result<()> {
        self.change(name, |manager, name, error| unsafe { sys::hearth_manager_switch(manager, name.as_ptr(), error) })
    }

    /// Make it resident, so that a later switch is quick; the current one never leaves for it.
    pub fn load_model(&mut self, name: &str) -> Result<()> {
        self.change(name, |manager, name, error| unsafe { sys::hearth_manager_load(manager, name.as_ptr(), error) })
    }

    /// Save its conversation and close it.
    pub fn unload_model(&mut self, name: &str) -> Result<()> {
        self.change(name, |manager, name, error| unsafe { sys::hearth_manager_unload(manager, name.as_ptr(), error) })
    }

    /// Save every conversation that has changed. Closing does so, too, but cannot say whether it went well.
    pub fn save_state(&mut self) -> Result<()> {
        check(|error| unsafe { sys::hearth_manager_save(self.raw, error) })
    }

    /// Give memory back to the system: idle models leave, and what the current one holds but does not use.
    pub fn optimize_memory(&mut self) -> Result<Optimized> {
        let mut o = sys::hearth_optimized { struct_size: size_of::<sys::hearth_optimized>(), ..Default::default() };
        check(|error| unsafe { sys::hearth_manager_optimize(self.raw, &mut o, error) })?;
        Ok(Optimized {
            n_unloaded: o.n_unloaded,
            bytes_freed: o.bytes_freed,
            weights: o.weights,
            kv: o.kv,
            cache: o.cache,
            scratch: o.scratch,
        })
    }

    /// Name of the current model.
    pub fn current(&self) -> Option<String> {
        let name = unsafe { sys::hearth_manager_current(self.raw) };
        (!name.is_null()).then(|| unsafe { text_of(name) })
    }

    /// The current model's session; None where none is current. What [`Session::set_params`] says of `max_tokens`, `stop_tokens`
    /// and `keep_special` holds for the sessions of all models.
    pub fn session(&mut self) -> Option<Session<'_>> {
        (!self.core.raw().is_null()).then(|| Session::lend(&mut self.core, &self.model))
    }

    /// The current model's conversation; None where none is current, or its limits have no [`Limits::chat`].
    pub fn context(&mut self) -> Option<Context<'_>> {
        let chat = unsafe { sys::hearth_manager_chat(self.raw) };
        (!chat.is_null()).then(|| Context::lend(chat, Session::lend(&mut self.core, &self.model)))
    }

    /// Stops what the current session computes, whichever that is then. To stop loading, use
    /// [`EngineOptions::abort`](crate::EngineOptions::abort).
    pub fn canceller(&self) -> Canceller {
        self.core.canceller()
    }

    /// All registered models, in the order of registration.
    pub fn models(&self) -> Result<Vec<ModelInfo>> {
        let n = unsafe { sys::hearth_manager_count(self.raw) };
        (0..n).map(|i| self.info(i)).collect()
    }

    fn info(&self, index: usize) -> Result<ModelInfo> {
        let mut m = sys::hearth_model_info { struct_size: size_of::<sys::hearth_model_info>(), ..Default::default() };
        check(|error| unsafe { sys::hearth_manager_info(self.raw, index, &mut m, error) })?;
        Ok(ModelInfo {
            // SAFETY: texts that end in NUL, valid until the model is forgotten.
            name: unsafe { text_of(m.name) },
            path: unsafe { path_of(m.path) },
            residence: match m.state {
                sys::HEARTH_MODEL_REGISTERED => Residence::Registered,
                sys::HEARTH_MODEL_RESIDENT => Residence::Resident,
                _ => Residence::Current,
            },
            conversation: match m.conversation {
                sys::HEARTH_CONVERSATION_NEW => Conversation::New,
                sys::HEARTH_CONVERSATION_RESTORED => Conversation::Restored,
                _ => Conversation::Lost,
            },
            saved: m.saved,
            resident_bytes: m.resident_bytes,
            plan_bytes: m.plan_bytes,
            last_used: m.last_used,
        })
    }
}
