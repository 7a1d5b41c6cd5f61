//! Sessions: one timeline of tokens over a model.
use crate::engine::Limits;
use crate::error::{check, open, Result};
use crate::guard;
use crate::model::{Model, ModelView, Tokenize};
use crate::params::{InferenceParams, Strings};
use crate::text::{c_path, size_of, slice};
use hearth_sys as sys;
use std::os::raw::{c_char, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Stops what a session computes, from any thread, at any time; outlives the session. `Send` and `Sync`.
///
/// The call in progress returns [`LLMError::Cancelled`](crate::LLMError::Cancelled) within a layer, and so do all that begin later,
/// until [`resume`](Canceller::resume): a cancellation is never lost, however closely it races with a call.
#[derive(Clone)]
pub struct Canceller {
    slot: Arc<Slot>,
}

/// The session as other threads may reach it; NULL when it is closed.
struct Slot(Mutex<*mut sys::hearth_session>);

// SAFETY: the pointer is used under the lock, for functions that are thread-safe while the session is open.
unsafe impl Send for Slot {}
unsafe impl Sync for Slot {}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, *mut sys::hearth_session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Canceller {
    pub fn cancel(&self) {
        // SAFETY: under the lock the session is open or NULL. So below.
        unsafe { sys::hearth_session_cancel(*self.slot.lock()) }
    }

    /// Let the session go on from where it stands.
    pub fn resume(&self) {
        unsafe { sys::hearth_session_resume(*self.slot.lock()) }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// The model ended its answer, or its grammar did.
    End,
    /// A stop string appeared.
    StopToken,
    /// `max_tokens` were generated.
    Length,
    /// The context is full.
    Context,
    /// The closure said false.
    Closure,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text that the closure saw; what is no UTF-8 is replaced.
    pub text: String,
    /// The tokens chosen, the ending one included.
    pub ids: Vec<i32>,
    pub stop: Stop,
    /// Wall time of the whole call.
    pub seconds: f64,
}

/// What a prompt and an answer would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub n_prompt: u32,
    /// Positions in use, prompt and answer.
    pub n_needed: u32,
    pub n_context: u32,
    /// Bytes of cache that those positions fill, out of memory the plan already holds.
    pub kv_bytes: u64,
    pub fits: bool,
}

/// What [`Session::prompt`] has done, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptInfo {
    /// Were there already.
    pub n_kept: u32,
    /// Came from the prefix cache.
    pub n_restored: u32,
    pub n_computed: u32,
}

impl From<sys::hearth_prompt_info> for PromptInfo {
    fn from(info: sys::hearth_prompt_info) -> Self {
        PromptInfo { n_kept: info.n_kept, n_restored: info.n_restored, n_computed: info.n_computed }
    }
}

/// A session as all its users share it, and how its answers end.
pub(crate) struct Core {
    raw: *mut sys::hearth_session,
    slot: Arc<Slot>,
    max_tokens: u32,
    stop_tokens: Strings,
    keep_special: bool,
}

// SAFETY: a session may be used by one thread after the other.
unsafe impl Send for Core {}

impl Core {
    pub(crate) fn new(raw: *mut sys::hearth_session) -> Self {
        let params = InferenceParams::default();
        Core {
            raw,
            slot: Arc::new(Slot(Mutex::new(raw))),
            max_tokens: params.max_tokens,
            stop_tokens: Strings::default(),
            keep_special: params.keep_special,
        }
    }

    /// It is another session from here on, or none: NULL. Who cancels sees the old one until here, and then the new one.
    pub(crate) fn become_session(&mut self, raw: *mut sys::hearth_session) {
        *self.slot.lock() = raw;
        self.raw = raw;
    }

    pub(crate) fn raw(&self) -> *mut sys::hearth_session {
        self.raw
    }

    pub(crate) fn canceller(&self) -> Canceller {
        Canceller { slot: self.slot.clone() }
    }

    /// Generate by a function of C.
    pub(crate) fn generate<T: FnMut(&str) -> bool, K: FnMut(Token<'_>) -> bool>(
        &self,
        logprobs: Logprobs,
        on_text: T,
        on_token: K,
        call: impl FnOnce(*const sys::hearth_generation, *mut sys::hearth_result, *mut sys::hearth_error) -> sys::hearth_status,
    ) -> Result<Answer> {
        let mut listener = Listener { text: String::new(), on_text, on_token };
        // SAFETY: an open session. Every token chosen stands in the context in the end, but for the last.
        let room = unsafe { sys::hearth_session_context(self.raw) }.saturating_add(1);
        let mut ids = vec![0i32; if self.max_tokens == 0 { 256 } else { self.max_tokens }.min(room) as usize];
        let user = &mut listener as *mut Listener<T, K> as *mut c_void;
        let generation = sys::hearth_generation {
            struct_size: size_of::<sys::hearth_generation>(),
            max_tokens: self.max_tokens,
            stop_strings: self.stop_tokens.as_ptr(),
            n_stop_strings: self.stop_tokens.len(),
            text: Some(hear_text::<T, K>),
            text_user: user,
            ids: ids.as_mut_ptr(),
            ids_capacity: ids.len(),
            keep_special: self.keep_special,
            token: Some(hear_token::<T, K>),
            token_user: user,
            logprobs: logprobs.chosen || logprobs.top > 0,
            n_top_logprobs: logprobs.top,
            paranoid_every: 0,
            n_checked: std::ptr::null_mut(),
        };
        let mut result = sys::hearth_result { struct_size: size_of::<sys::hearth_result>(), ..Default::default() };
        check(|error| call(&generation, &mut result, error))?;
        ids.truncate(result.n_generated as usize);
        let stop = match result.stop {
            sys::HEARTH_STOP_END => Stop::End,
            sys::HEARTH_STOP_STRING => Stop::StopToken,
            sys::HEARTH_STOP_LENGTH => Stop::Length,
            sys::HEARTH_STOP_CONTEXT => Stop::Context,
            _ => Stop::Closure,
        };
        Ok(Answer { text: listener.text, ids, stop, seconds: result.seconds })
    }
}

struct Owned {
    core: Core,
    model: Model,
}

impl Drop for Owned {
    fn drop(&mut self) {
        let raw = self.core.raw;
        self.core.become_session(std::ptr::null_mut());
        // SAFETY: open, and from here on nobody knows it.
        unsafe { sys::hearth_session_close(raw) }
    }
}

enum Hold<'a> {
    Owned(Box<Owned>),
    Lent(&'a mut Core, &'a ModelView),
}

/// One timeline of tokens. `Send`, but not `Sync`: one thread at a time, which the borrow checker sees to; several sessions of one
/// model may compute at the same time. The lifetime is `'static` for one of your own, by [`Model::session`], and that of the
/// owner's borrow for one that is lent, by a [`ModelManager`](crate::ModelManager) or a [`Context`](crate::Context).
pub struct Session<'a> {
    hold: Hold<'a>,
}

/// A token as it was chosen. Its text may begin or end within a character, and is empty for a special token.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    pub id: i32,
    pub text: &'a [u8],
    /// Natural logarithm of its probability by the model's own logits, before grammar, biases and samplers; NaN unless asked for.
    pub logprob: f32,
    /// The likeliest tokens by the same logits, likeliest first.
    pub top: &'a [Logprob],
}

/// A token and the natural logarithm of its probability.
pub type Logprob = sys::hearth_logprob;

/// What to compute of probabilities while generating.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logprobs {
    /// Tell those of the tokens chosen.
    pub chosen: bool,
    /// And of so many of the likeliest, at most 20.
    pub top: u32,
}

struct Listener<T, K> {
    text: String,
    on_text: T,
    on_token: K,
}

unsafe extern "C" fn hear_text<T: FnMut(&str) -> bool, K>(text: *const c_char, bytes: usize, user: *mut c_void) -> bool {
    let listener = &mut *(user as *mut Listener<T, K>);
    guard::call(false, || {
        let piece = String::from_utf8_lossy(slice(text as *const u8, bytes));
        listener.text.push_str(&piece);
        (listener.on_text)(&piece)
    })
}

unsafe extern "C" fn hear_token<T, K: FnMut(Token<'_>) -> bool>(token: *const sys::hearth_token, user: *mut c_void) -> bool {
    let listener = &mut *(user as *mut Listener<T, K>);
    let t = &*token;
    guard::call(false, || {
        (listener.on_token)(Token {
            id: t.id,
            text: slice(t.text as *const u8, t.text_bytes),
            logprob: t.logprob,
            top: slice(t.top, t.n_top as usize),
        })
    })
}

impl<'a> Session<'a> {
    pub(crate) fn open(model: &Model, limits: &Limits) -> Result<Session<'static>> {
        // SAFETY: an open model.
        open(
            |out, error| unsafe { sys::hearth_session_open(out, model.raw(), &limits.to_c(), error) },
            |raw| Session { hold: Hold::Owned(Box::new(Owned { core: Core::new(raw), model: model.clone() })) },
        )
    }

    pub(crate) fn lend(core: &'a mut Core, model: &'a ModelView) -> Self {
        Session { hold: Hold::Lent(core, model) }
    }

    pub(crate) fn core(&self) -> &Core {
        match &self.hold {
            Hold::Owned(owned) => &owned.core,
            Hold::Lent(core, _) => core,
        }
    }

    /// The same session, lent once more.
    pub(crate) fn reborrow(&mut self) -> Session<'_> {
        match &mut self.hold {
            Hold::Owned(owned) => Session::lend(&mut owned.core, &owned.model),
            Hold::Lent(core, model) => Session::lend(core, model),
        }
    }

    fn core_mut(&mut self) -> &mut Core {
        match &mut self.hold {
            Hold::Owned(owned) => &mut owned.core,
            Hold::Lent(core, _) => core,
        }
    }

    fn raw(&mut self) -> *mut sys::hearth_session {
        self.core().raw
    }

    pub fn model(&self) -> &ModelView {
        match &self.hold {
            Hold::Owned(owned) => &owned.model,
            Hold::Lent(_, model) => model,
        }
    }

    /// A handle to stop it from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.core().canceller()
    }

    /// Set how answers are chosen and where they end, and restart the random stream from the seed. On failure all is as before.
    pub fn set_params(&mut self, params: &InferenceParams) -> Result<()> {
        let stop_tokens = Strings::new("stop_tokens", &params.stop_tokens)?;
        let raw = self.raw();
        // SAFETY: an open session, and nobody else's while we have `&mut self`. So everywhere below.
        params.with_sampling(|sampling| check(|error| unsafe { sys::hearth_session_set_sampling(raw, sampling, error) }))?;
        let core = self.core_mut();
        core.max_tokens = params.max_tokens;
        core.stop_tokens = stop_tokens;
        core.keep_special = params.keep_special;
        Ok(())
    }

    /// From here on the text must follow a grammar in GBNF; needs [`Limits::grammar`]. None drops it.
    pub fn set_grammar(&mut self, grammar: Option<&str>) -> Result<()> {
        let (text, bytes) = grammar.map_or((std::ptr::null(), 0), |text| (text.as_ptr() as *const c_char, text.len()));
        check(|error| unsafe { sys::hearth_session_set_grammar(self.raw(), text, bytes, error) })
    }

    /// Calls that still compute so long from now are cancelled; None: no deadline.
    pub fn set_deadline(&mut self, after: Option<Duration>) -> Result<()> {
        // A deadline of 0 seconds means none to the library.
        let seconds = after.map_or(0.0, |after| after.as_secs_f64().max(1e-9));
        check(|error| unsafe { sys::hearth_session_set_deadline(self.raw(), seconds, error) })
    }

    /// Forget all tokens, and the grammar.
    pub fn reset(&mut self) {
        unsafe { sys::hearth_session_reset(self.raw()) }
    }

    /// Let a cancelled session go on.
    pub fn resume(&mut self) {
        unsafe { sys::hearth_session_resume(self.raw()) }
    }

    /// Tokens in the context.
    pub fn position(&self) -> u32 {
        unsafe { sys::hearth_session_position(self.core().raw) }
    }

    /// How many tokens the context can hold.
    pub fn context(&self) -> u32 {
        unsafe { sys::hearth_session_context(self.core().raw) }
    }

    /// The tokens in the context, first to last. The last one of an answer that was cut off is not among them until it is computed.
    pub fn tokens(&self) -> &[i32] {
        let mut n = 0;
        // Valid until the session is changed, which needs `&mut self`.
        unsafe {
            let ids = sys::hearth_session_tokens(self.core().raw, &mut n);
            slice(ids, n as usize)
        }
    }

    /// Forget the tokens from a position on, as if they had never been fed; feed before sampling.
    pub fn rewind(&mut self, position: u32) -> Result<()> {
        check(|error| unsafe { sys::hearth_session_rewind(self.raw(), position, error) })
    }

    /// Make `ids` the whole content and compute only what is new: the longest beginning that is there already is kept.
    pub fn prompt(&mut self, ids: &[i32]) -> Result<PromptInfo> {
        let mut info = sys::hearth_prompt_info { struct_size: size_of::<sys::hearth_prompt_info>(), ..Default::default() };
        let raw = self.raw();
        check(|error| unsafe { sys::hearth_session_prompt(raw, ids.as_ptr(), ids.len(), &mut info, error) })?;
        Ok(info.into())
    }

    /// What a prompt and an answer would need here, before anything is computed.
    pub fn estimate(&mut self, text: &str, how: Tokenize, n_answer: u32) -> Result<Estimate> {
        let mut e = sys::hearth_estimate { struct_size: size_of::<sys::hearth_estimate>(), ..Default::default() };
        let at = text.as_ptr() as *const c_char;
        let raw = self.raw();
        check(|error| unsafe { sys::hearth_session_estimate(raw, at, text.len(), how.flags(), n_answer, &mut e, error) })?;
        Ok(Estimate { n_prompt: e.n_prompt, n_needed: e.n_needed, n_context: e.n_context, kv_bytes: e.kv_bytes, fits: e.fits })
    }

    /// Append tokens and compute them.
    pub fn feed(&mut self, ids: &[i32]) -> Result<()> {
        check(|error| unsafe { sys::hearth_session_feed(self.raw(), ids.as_ptr(), ids.len(), error) })
    }

    /// Tokenize and feed; how many tokens it were.
    pub fn feed_text(&mut self, text: &str, how: Tokenize) -> Result<usize> {
        let mut n = 0;
        let at = text.as_ptr() as *const c_char;
        let raw = self.raw();
        check(|error| unsafe { sys::hearth_session_feed_text(raw, at, text.len(), how.flags(), &mut n, error) })?;
        Ok(n)
    }

    /// Logits of the position `back` places before the last one fed, one for each token of the vocabulary; None where they were not
    /// kept.
    pub fn logits(&self, back: u32) -> Option<&[f32]> {
        let n = self.model().vocabulary_size() as usize;
        // SAFETY: as many as the vocabulary has, valid until the session is changed, which needs `&mut self`.
        unsafe {
            let logits = sys::hearth_session_logits(self.core().raw, back);
            (!logits.is_null()).then(|| slice(logits, n))
        }
    }

    /// Choose the next token from the last logits; it is not fed.
    pub fn sample(&mut self) -> Result<i32> {
        let mut token = 0;
        check(|error| unsafe { sys::hearth_session_sample(self.raw(), &mut token, error) })?;
        Ok(token)
    }

    /// Continue the text. `on_text` receives it as it comes, in whole characters, and says whether to go on. If it panics, the
    /// generation stops, and the panic goes on behind it; the session stays usable.
    ///
    /// An answer in pieces is the answer in one: after `Length`, `Closure` or a cancellation the next call goes on where this one
    /// stopped.
    pub fn generate(&mut self, on_text: impl FnMut(&str) -> bool) -> Result<Answer> {
        self.generate_by(Logprobs::default(), on_text, |_| true)
    }

    /// As [`Session::generate`], told of each token as it is chosen, before its text can be shown: the one that ends the answer,
    /// too.
    pub fn generate_tokens(&mut self, logprobs: Logprobs, on_token: impl FnMut(Token<'_>) -> bool) -> Result<Answer> {
        self.generate_by(logprobs, |_| true, on_token)
    }

    fn generate_by(
        &mut self,
        logprobs: Logprobs,
        on_text: impl FnMut(&str) -> bool,
        on_token: impl FnMut(Token<'_>) -> bool,
    ) -> Result<Answer> {
        let raw = self.raw();
        // SAFETY: an open session; what the structures name lives until the call returns, and C uses it no longer.
        self.core().generate(logprobs, on_text, on_token, |generation, result, error| unsafe {
            sys::hearth_generate(raw, generation, result, error)
        })
    }

    /// Write the session to a file, whole or not at all, for [`Session::restore`] to go on from with the same bits. Not the
    /// grammar, nor [`InferenceParams::max_tokens`], `stop_tokens` and `keep_special`.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        check(|error| unsafe { sys::hearth_session_save(self.raw(), path.as_ptr(), error) })
    }

    /// Become what was saved. A damaged or foreign file is [`LLMError::State`](crate::LLMError::State), and nothing has changed.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        check(|error| unsafe { sys::hearth_session_restore(self.raw(), path.as_ptr(), error) })
    }
}
