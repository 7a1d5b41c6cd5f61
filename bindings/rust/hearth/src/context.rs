//! Conversations: messages over a session.
use crate::error::{check, open, Result};
use crate::guard::{self, Held};
use crate::session::{Answer, Canceller, Logprobs, PromptInfo, Session, Token};
use crate::text::{c_path, c_text, size_of, slice};
use hearth_sys as sys;
use std::ffi::CString;
use std::os::raw::{c_char, c_void};
use std::path::Path;

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Role {
    System = sys::HEARTH_ROLE_SYSTEM,
    User = sys::HEARTH_ROLE_USER,
    Assistant = sys::HEARTH_ROLE_ASSISTANT,
    Tool = sys::HEARTH_ROLE_TOOL,
}

/// One message of a [`Context`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    /// 0, 1, 2, … over the life of the context: its name.
    pub number: u64,
    /// Tokens of its text alone.
    pub n_tokens: u32,
    pub text: String,
}

/// What happens when a conversation leaves no room for an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub enum WhenFull {
    /// [`LLMError::ContextFull`](crate::LLMError::ContextFull).
    #[default]
    Refuse = sys::HEARTH_CHAT_REFUSE,
    /// The oldest messages go, each told to [`ContextOptions::dropped`] before. The system's never does.
    DropOldest = sys::HEARTH_CHAT_DROP_OLDEST,
}

type Dropped = Box<dyn FnMut(Message) + Send>;

/// Options of a [`Context`]; the default is right for most.
#[derive(Default)]
pub struct ContextOptions {
    /// Jinja; None: the model's.
    pub chat_template: Option<String>,
    /// "chatml", "llama2", "alpaca" or "phi2" in place of a template; None: by the model.
    pub family: Option<String>,
    pub when_full: WhenFull,
    /// Positions that a prompt leaves free for its answer; 0: 256, or a quarter of the context if that is less.
    pub reserve: u32,
    /// Told of each message that is about to be dropped.
    pub dropped: Option<Dropped>,
    /// Local time as seconds since 1970, for templates that tell the date; 0: the clock.
    pub now: i64,
}

/// Options as C has them, and what they point to; both stay where they are.
pub(crate) struct CallerOptions {
    c: Held<sys::hearth_chat_options>,
    _chat_template: Option<String>,
    _family: Option<CString>,
    _dropped: Option<Held<Dropped>>,
}

impl CallerOptions {
    pub(crate) fn new(options: ContextOptions) -> Result<Self> {
        let chat_template = options.chat_template;
        let family = options.family.as_deref().map(|family| c_text("family", family)).transpose()?;
        let dropped = options.dropped.map(Held::new);
        let (template, template_bytes) = bytes_of(chat_template.as_deref().map(str::as_bytes));
        let c = Held::new(sys::hearth_chat_options {
            struct_size: size_of::<sys::hearth_chat_options>(),
            chat_template: template,
            chat_template_bytes: template_bytes,
            family: family.as_ref().map_or(std::ptr::null(), |family| family.as_ptr()),
            when_full: options.when_full as i32,
            reserve: options.reserve,
            dropped: dropped.as_ref().map(|_| drop_message as sys::hearth_dropped_fn),
            dropped_user: dropped.as_ref().map_or(std::ptr::null_mut(), Held::user),
            now: options.now,
        });
        Ok(CallerOptions { c, _chat_template: chat_template, _family: family, _dropped: dropped })
    }

    pub(crate) fn as_ptr(&self) -> *const sys::hearth_chat_options {
        self.c.user() as *const sys::hearth_chat_options
    }
}

unsafe extern "C" fn drop_message(message: *const sys::hearth_message, user: *mut c_void) {
    let dropped = &mut *(user as *mut Dropped);
    guard::call((), || dropped(message_of(&*message)));
}

/// # Safety
/// The library has filled it in, and nothing has changed since.
unsafe fn message_of(m: &sys::hearth_message) -> Message {
    let role = match m.role {
        sys::HEARTH_ROLE_SYSTEM => Role::System,
        sys::HEARTH_ROLE_USER => Role::User,
        sys::HEARTH_ROLE_ASSISTANT => Role::Assistant,
        _ => Role::Tool,
    };
    let text = String::from_utf8_lossy(slice(m.text as *const u8, m.text_bytes)).into_owned();
    Message { role, number: m.number, n_tokens: m.n_tokens, text }
}

/// A conversation: messages, written down by the model's chat template for each answer, over a session that computes only what is
/// new. `Send`, but not `Sync`: one thread at a time. Needs [`Limits::chat`](crate::Limits::chat).
pub struct Context<'a> {
    raw: *mut sys::hearth_chat,
    _owned: Option<Owned>, // None: lent
    session: Session<'a>,
}

// SAFETY: a chat may be used by one thread after the other; `dropped` is Send.
unsafe impl Send for Context<'_> {}

/// A chat of our own. Not Context itself has the Drop, so that one that is lent ends its borrow where it is used last.
struct Owned {
    raw: *mut sys::hearth_chat,
    _options: CallerOptions,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: open, and before its session, which stands behind us in Context.
        unsafe { sys::hearth_chat_close(self.raw) }
    }
}

impl<'a> Context<'a> {
    /// Begin a conversation on a session, which is the context's from here on.
    pub fn open(session: Session<'a>, options: ContextOptions) -> Result<Self> {
        let options = CallerOptions::new(options)?;
        // SAFETY: an open session, and the options live as long as the chat.
        let (on, c) = (session.core().raw(), options.as_ptr());
        open(
            |out, error| unsafe { sys::hearth_chat_open(out, on, c, error) },
            |raw| Context { raw, _owned: Some(Owned { raw, _options: options }), session },
        )
    }

    /// One that is somebody else's to close.
    pub(crate) fn lend(raw: *mut sys::hearth_chat, session: Session<'a>) -> Self {
        Context { raw, _owned: None, session }
    }

    /// The session beneath, for its parameters, deadline, cancellation and grammar; what feeds it is refused.
    pub fn session(&mut self) -> Session<'_> {
        self.session.reborrow()
    }

    /// A handle to stop it from elsewhere.
    pub fn canceller(&self) -> Canceller {
        self.session.canceller()
    }

    /// Positions that the conversation may take in all.
    pub fn max_length(&self) -> u32 {
        self.session.context()
    }

    /// Positions that the model has of it now.
    pub fn current_length(&self) -> u32 {
        self.session.position()
    }

    /// What the model is told first; None takes it away.
    pub fn set_system(&mut self, text: Option<&str>) -> Result<()> {
        let (at, bytes) = bytes_of(text.map(str::as_bytes));
        // SAFETY: an open chat, nobody else's while we have `&mut self`; the text with its length. So everywhere below.
        check(|error| unsafe { sys::hearth_chat_set_system(self.raw, at, bytes, error) })
    }

    /// Append a message.
    pub fn add(&mut self, role: Role, text: &str) -> Result<()> {
        let (at, bytes) = bytes_of(Some(text.as_bytes()));
        check(|error| unsafe { sys::hearth_chat_add(self.raw, role as i32, at, bytes, error) })
    }

    /// Let the model answer, and append the answer, also one cut short. `on_text` as of [`Session::generate`].
    pub fn answer(&mut self, on_text: impl FnMut(&str) -> bool) -> Result<Answer> {
        self.answer_by(Logprobs::default(), on_text, |_| true)
    }

    /// As [`Context::answer`], told of each token as it is chosen.
    pub fn answer_tokens(&mut self, logprobs: Logprobs, on_token: impl FnMut(Token<'_>) -> bool) -> Result<Answer> {
        self.answer_by(logprobs, |_| true, on_token)
    }

    fn answer_by(
        &mut self,
        logprobs: Logprobs,
        on_text: impl FnMut(&str) -> bool,
        on_token: impl FnMut(Token<'_>) -> bool,
    ) -> Result<Answer> {
        let raw = self.raw;
        self.session.core().generate(logprobs, on_text, on_token, |generation, result, error| unsafe {
            sys::hearth_chat_answer(raw, generation, result, error)
        })
    }

    /// Add a user's message and answer. After a failure before anything was said the message is taken back.
    pub fn send(&mut self, text: &str, on_text: impl FnMut(&str) -> bool) -> Result<Answer> {
        let raw = self.raw;
        let (at, bytes) = bytes_of(Some(text.as_bytes()));
        self.session.core().generate(
            Logprobs::default(),
            on_text,
            |_| true,
            |generation, result, error| unsafe { sys::hearth_chat_send(raw, at, bytes, generation, result, error) },
        )
    }

    /// How the last prompt was made.
    pub fn prompt_info(&self) -> Result<PromptInfo> {
        let mut info = sys::hearth_prompt_info { struct_size: size_of::<sys::hearth_prompt_info>(), ..Default::default() };
        check(|error| unsafe { sys::hearth_chat_prompt_info(self.raw, &mut info, error) })?;
        Ok(info.into())
    }

    /// Take the newest message away, but not the system's; this and [`Context::answer`] answer once more.
    pub fn pop(&mut self) -> Result<()> {
        check(|error| unsafe { sys::hearth_chat_pop(self.raw, error) })
    }

    /// Take all messages away but the system's. Metadata stays.
    pub fn clear(&mut self) {
        unsafe { sys::hearth_chat_clear(self.raw) }
    }

    /// All messages: the system's first, then oldest to newest.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let n = unsafe { sys::hearth_chat_count(self.raw) };
        let message = |i| {
            let mut m = sys::hearth_message { struct_size: size_of::<sys::hearth_message>(), ..Default::default() };
            check(|error| unsafe { sys::hearth_chat_message(self.raw, i, &mut m, error) })?;
            Ok(unsafe { message_of(&m) })
        };
        (0..n).map(message).collect()
    }

    /// Note something beside the conversation, such as a title; None deletes the key.
    pub fn set_metadata(&mut self, key: &str, value: Option<&[u8]>) -> Result<()> {
        let key = c_text("metadata", key)?;
        let (at, bytes) = bytes_of(value);
        check(|error| unsafe { sys::hearth_chat_set_metadata(self.raw, key.as_ptr(), at, bytes, error) })
    }

    /// What was noted.
    pub fn metadata(&self, key: &str) -> Option<Vec<u8>> {
        let key = c_text("metadata", key).ok()?;
        let mut bytes = 0;
        unsafe {
            let value = sys::hearth_chat_metadata(self.raw, key.as_ptr(), &mut bytes);
            (!value.is_null()).then(|| slice(value as *const u8, bytes).to_vec())
        }
    }

    /// Write session, messages and metadata to a file, as [`Session::save`].
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        check(|error| unsafe { sys::hearth_chat_save(self.raw, path.as_ptr(), error) })
    }

    /// Go on with a conversation that was saved, as [`Session::restore`].
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        check(|error| unsafe { sys::hearth_chat_restore(self.raw, path.as_ptr(), error) })
    }
}

/// Address and length; NULL for none.
fn bytes_of(text: Option<&[u8]>) -> (*const c_char, usize) {
    text.map_or((std::ptr::null(), 0), |text| (text.as_ptr() as *const c_char, text.len()))
}
