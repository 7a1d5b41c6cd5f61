//! Models: one opened GGUF file, immutable and shared; and its tokenizer.
use crate::engine::{Engine, Limits};
use crate::error::{check, open, LLMError, Result};
use crate::guard;
use crate::session::Session;
use crate::text::{c_path, size_of};
use hearth_sys as sys;
use std::ops::Deref;
use std::os::raw::{c_char, c_void};
use std::path::Path;
use std::sync::Arc;

/// How text becomes tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokenize {
    /// Begin with the model's beginning-of-text token, where it wants one.
    pub bos: bool,
    /// Recognise special tokens spelt in the text; never for text of strangers.
    pub special: bool,
}

impl Tokenize {
    /// The beginning of a text.
    pub const BOS: Tokenize = Tokenize { bos: true, special: false };
    /// The beginning of a prompt that the program wrote itself, special tokens included.
    pub const PROMPT: Tokenize = Tokenize { bos: true, special: true };
    /// Text that goes on from what was there.
    pub const PLAIN: Tokenize = Tokenize { bos: false, special: false };

    pub(crate) fn flags(self) -> u32 {
        (if self.bos { sys::HEARTH_TOKENIZE_BOS } else { 0 }) | (if self.special { sys::HEARTH_TOKENIZE_SPECIAL } else { 0 })
    }
}

/// An opened model, for text, tokens and numbers. What a [`Model`] is to who owns it, and all that others see of it. `Sync`.
pub struct ModelView {
    raw: *mut sys::hearth_model,
}

// SAFETY: immutable once open; its functions are thread-safe or take the engine's lock, hearth_model_close() too.
unsafe impl Send for ModelView {}
unsafe impl Sync for ModelView {}

/// An opened model of your own; all that can be asked of it is at [`ModelView`]. A clone is the same model. `Send` and `Sync`.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    view: ModelView,
    engine: Engine,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: sessions hold clones, so none of them is open any more.
        unsafe { sys::hearth_model_close(self.view.raw) }
    }
}

impl Deref for Model {
    type Target = ModelView;

    fn deref(&self) -> &ModelView {
        &self.inner.view
    }
}

unsafe extern "C" fn progress<F: FnMut(u64, u64) -> bool>(done: u64, total: u64, user: *mut c_void) -> bool {
    let on_progress = &mut *(user as *mut F);
    guard::call(false, || on_progress(done, total))
}

impl Model {
    /// Open a GGUF file; of a split model the first part. The limits are those of the session that will be opened on it, so that
    /// both are refused together before a weight is read.
    pub fn open(engine: &Engine, path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        Self::open_by(engine, path.as_ref(), limits, sys::hearth_model_options::default())
    }

    /// As [`Model::open`], told how many bytes are done of how many; false stops with [`LLMError::Cancelled`].
    pub fn open_with_progress<F: FnMut(u64, u64) -> bool>(
        engine: &Engine,
        path: impl AsRef<Path>,
        limits: &Limits,
        mut on_progress: F,
    ) -> Result<Self> {
        let options = sys::hearth_model_options {
            progress: Some(progress::<F>),
            progress_user: &mut on_progress as *mut F as *mut c_void,
            ..Default::default()
        };
        Self::open_by(engine, path.as_ref(), limits, options)
    }

    fn open_by(engine: &Engine, path: &Path, limits: &Limits, mut options: sys::hearth_model_options) -> Result<Self> {
        let path = c_path(path)?;
        options.struct_size = size_of::<sys::hearth_model_options>();
        // SAFETY: an open engine, a path that ends in NUL; closures are called during this call only.
        open(
            |out, error| unsafe { sys::hearth_model_open(out, engine.raw(), path.as_ptr(), &limits.to_c(), &options, error) },
            |raw| Model::new(raw, engine),
        )
    }

    /// Open only the tokenizer of a file.
    pub fn open_vocabulary(engine: &Engine, path: impl AsRef<Path>) -> Result<Self> {
        let path = c_path(path.as_ref())?;
        // SAFETY: as above.
        open(
            |out, error| unsafe { sys::hearth_model_open_vocabulary(out, engine.raw(), path.as_ptr(), error) },
            |raw| Model::new(raw, engine),
        )
    }

    fn new(raw: *mut sys::hearth_model, engine: &Engine) -> Self {
        Model { inner: Arc::new(Inner { view: ModelView { raw }, engine: engine.clone() }) }
    }

    /// Begin a timeline on the model.
    pub fn session(&self, limits: &Limits) -> Result<Session<'static>> {
        Session::open(self, limits)
    }

    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }
}

impl ModelView {
    /// The caller sees to it that nobody has it when the model is closed.
    pub(crate) fn new(raw: *mut sys::hearth_model) -> Self {
        ModelView { raw }
    }

    pub(crate) fn raw(&self) -> *mut sys::hearth_model {
        self.raw
    }

    pub fn vocabulary_size(&self) -> u32 {
        // SAFETY: an open model. So below.
        unsafe { sys::hearth_model_vocabulary_size(self.raw()) }
    }

    pub fn trained_context(&self) -> u32 {
        unsafe { sys::hearth_model_trained_context(self.raw()) }
    }

    pub fn weight_bytes(&self) -> u64 {
        unsafe { sys::hearth_model_weight_bytes(self.raw()) }
    }

    /// Whether a token ends an answer.
    pub fn is_end(&self, token: i32) -> bool {
        unsafe { sys::hearth_model_is_end(self.raw(), token) }
    }

    /// Text to token ids.
    pub fn tokenize(&self, text: &str, how: Tokenize) -> Result<Vec<i32>> {
        // SAFETY: room for `capacity` ids at `ids`; the text with its length. So below.
        let call = |ids, capacity, n: &mut usize, error| unsafe {
            sys::hearth_tokenize(self.raw(), c_bytes(text), text.len(), how.flags(), ids, capacity, n, error)
        };
        all_ids(call)
    }

    /// The prompt with which a fill-in-the-middle model generates what belongs between two texts.
    pub fn tokenize_infill(&self, prefix: &str, suffix: &str) -> Result<Vec<i32>> {
        let call = |ids, capacity, n: &mut usize, error| unsafe {
            sys::hearth_tokenize_infill(
                self.raw(),
                c_bytes(prefix),
                prefix.len(),
                c_bytes(suffix),
                suffix.len(),
                ids,
                capacity,
                n,
                error,
            )
        };
        all_ids(call)
    }

    /// As [`ModelView::tokenize`] with `special`, which holds only where `from_caller` has 0 for a byte.
    pub fn tokenize_marked(&self, text: &str, from_caller: &[u8], how: Tokenize) -> Result<Vec<i32>> {
        if from_caller.len() != text.len() {
            return Err(LLMError::config(format!("tokenize: marks (got {}, need {}, one a byte)", from_caller.len(), text.len())));
        }
        let call = |ids, capacity, n: &mut usize, error| unsafe {
            sys::hearth_tokenize_marked(
                self.raw(),
                c_bytes(text),
                from_caller.as_ptr(),
                text.len(),
                how.flags(),
                ids,
                capacity,
                n,
                error,
            )
        };
        all_ids(call)
    }

    /// Token ids to bytes of text, which may end inside a character; special tokens give nothing.
    pub fn detokenize(&self, ids: &[i32]) -> Result<Vec<u8>> {
        let mut text = vec![0u8; 16 * ids.len()];
        loop {
            let mut n = 0;
            // SAFETY: `text` has room for its length, `ids` are as many as said.
            let done = check(|error| unsafe {
                let at = text.as_mut_ptr() as *mut c_char;
                sys::hearth_detokenize(self.raw(), ids.as_ptr(), ids.len(), at, text.len(), &mut n, error)
            });
            if done.is_ok() || n <= text.len() {
                text.truncate(n);
                return done.map(|()| text);
            }
            text.resize(n, 0);
        }
    }
}

fn c_bytes(text: &str) -> *const c_char {
    text.as_ptr() as *const c_char
}

/// Ask how many ids there are, and then for all of them.
fn all_ids(call: impl Fn(*mut i32, usize, &mut usize, *mut sys::hearth_error) -> sys::hearth_status) -> Result<Vec<i32>> {
    let mut ids = vec![0; 64];
    loop {
        let mut n = 0;
        let done = check(|error| call(ids.as_mut_ptr(), ids.len(), &mut n, error));
        if done.is_ok() || n <= ids.len() {
            ids.truncate(n);
            return done.map(|()| ids);
        }
        ids.resize(n, 0);
    }
}
