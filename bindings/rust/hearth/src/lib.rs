//! Hearth runs quantized language models on x86-64 CPUs, within the memory it was given. This crate is the safe interface to
//! libhearth; `hearth.h` explains every option and limit, `hearth-sys` has it as it is.
//!
//! ```no_run
//! use hearth::*;
//!
//! # fn main() -> Result<()> {
//! let engine = Engine::open(MemoryConfig { max_ram_usage: 600 << 20, ..Default::default() })?;
//! let model = Model::open(&engine, "model.gguf", &Limits::default())?;
//! let mut session = model.session(&Limits::default())?;
//! session.set_params(&InferenceParams { temperature: 0.0, max_tokens: 40, ..Default::default() })?;
//! session.feed_text("The hearth", Tokenize::BOS)?;
//! let answer = session.generate(|text| {
//!     print!("{text}");
//!     true // go on
//! })?;
//! println!("\n[{} tokens, {:?}]", answer.ids.len(), answer.stop);
//! # Ok(())
//! # }
//! ```
//!
//! # Memory
//!
//! What does not fit is refused before anything is taken, with the bytes needed and available:
//!
//! ```no_run
//! # use hearth::*;
//! # let engine = Engine::open(MemoryConfig::default()).unwrap();
//! match Model::open(&engine, "huge.gguf", &Limits::default()) {
//!     Err(LLMError::OutOfMemory { needed, available, .. }) => println!("needs {needed} bytes of {available}"),
//!     Err(LLMError::ModelNotFound { .. }) => println!("there is no such file"),
//!     other => drop(other),
//! }
//! ```
//!
//! # Several models
//!
//! ```no_run
//! # use hearth::*;
//! # fn main() -> Result<()> {
//! # let engine = Engine::open(MemoryConfig::default())?;
//! let mut manager = ModelManager::open(&engine, "states")?;
//! manager.register("home", "home.gguf", &Limits::default())?;
//! manager.register("code", "code.gguf", &Limits::default())?;
//! manager.switch_model("home")?;
//! manager.session().expect("current").feed_text("The hearth", Tokenize::BOS)?;
//! manager.switch_model("code")?; // checked before anything is given up; "home" is saved if it must leave
//! manager.switch_model("home")?; // and goes on with the bits of a conversation that was never interrupted
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! | type | `Send` | `Sync` | |
//! |---|---|---|---|
//! | [`Engine`], [`Model`] | yes | yes | a clone is the same one; closed with the last |
//! | [`Session`] | yes | no | one thread at a time; several sessions of a model compute side by side |
//! | [`Context`] | yes | no | a conversation, on a session of its own or a manager's |
//! | [`ModelManager`] | yes | no | its sessions are lent, for as long as it is left alone |
//! | [`Canceller`] | yes | yes | stops a session from anywhere, also when the session is already gone |
//!
//! Closures run on the thread that called. A panic in one does not run through C: it stops the call and goes on behind it.
//!
//! # Async
//!
//! Calls compute for as long as they take, on Hearth's own workers; the caller's thread waits. So an async runtime must not make
//! them on its own threads: move the session to one that may block. With tokio:
//!
//! ```text
//! let canceller = session.canceller();
//! let (tell, mut hear) = tokio::sync::mpsc::unbounded_channel();
//! let answering = tokio::task::spawn_blocking(move || {
//!     let answer = session.generate(|text| tell.send(text.to_string()).is_ok()); // false, which stops, when nobody hears
//!     (session, answer)
//! });
//! while let Some(text) = hear.recv().await {
//!     window.emit("text", text)?; // canceller.cancel() from any task stops it within a layer
//! }
//! let (session, answer) = answering.await?;
//! ```
//!
//! `examples/from_async.rs` is the same with std alone: a thread, a channel that wakes, and a runtime of fifteen lines.
mod context;
mod engine;
mod error;
mod guard;
mod manager;
mod model;
mod params;
mod session;
mod text;

pub use context::{Context, ContextOptions, Message, Role, WhenFull};
pub use engine::{version, Engine, EngineOptions, KvType, Level, Limits, MemoryConfig, PageSize, Plan, Verify};
pub use error::{LLMError, Result};
pub use manager::{Conversation, ModelInfo, ModelManager, Optimized, Residence};
pub use model::{Model, ModelView, Tokenize};
pub use params::{InferenceParams, Sampler};
pub use session::{Answer, Canceller, Estimate, Logprob, Logprobs, PromptInfo, Session, Stop, Token};
