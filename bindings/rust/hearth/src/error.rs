//! What can go wrong, as the application knows it.
use crate::guard;
use crate::text::text_of;
use hearth_sys as sys;
use std::fmt;

/// Every failure of Hearth. `message` is one line, "FILE: SITE: WHAT (got G, need N)".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LLMError {
    /// No such file, or no model of that name.
    ModelNotFound { message: String },
    /// Does not fit the memory cap; bytes. Nothing was taken, and what was open is as it was.
    OutOfMemory { needed: u64, available: u64, message: String },
    /// An option or argument is out of its range.
    InvalidConfig { message: String },
    /// Numbers are not finite, or a kernel failed its self-test.
    InferenceError { message: String },
    /// The model file is damaged or contradicts itself.
    Format { message: String },
    /// The file is valid, but this version does not run it.
    Unsupported { message: String },
    /// Reading, writing or mapping failed.
    Io { message: String },
    /// A saved state is invalid, or of another model.
    State { message: String },
    /// More tokens than the context holds.
    ContextFull { needed: u64, available: u64, message: String },
    /// A callback or a [`Canceller`](crate::Canceller) asked to stop, or a deadline has passed.
    Cancelled { message: String },
    /// The object is in use by another thread.
    Busy { message: String },
    /// The process has forked since the engine was opened.
    Forked { message: String },
    /// A status that these bindings do not know.
    Unknown { status: i32, message: String },
}

impl LLMError {
    /// The line for a human.
    pub fn message(&self) -> &str {
        match self {
            LLMError::ModelNotFound { message }
            | LLMError::OutOfMemory { message, .. }
            | LLMError::InvalidConfig { message }
            | LLMError::InferenceError { message }
            | LLMError::Format { message }
            | LLMError::Unsupported { message }
            | LLMError::Io { message }
            | LLMError::State { message }
            | LLMError::ContextFull { message, .. }
            | LLMError::Cancelled { message }
            | LLMError::Busy { message }
            | LLMError::Forked { message }
            | LLMError::Unknown { message, .. } => message,
        }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        LLMError::InvalidConfig { message: message.into() }
    }

    fn from_c(status: sys::hearth_status, e: &sys::hearth_error) -> Self {
        // SAFETY: the library ends its message with NUL, and `e` began as zeros.
        let message = unsafe { text_of(e.message.as_ptr()) };
        let (needed, available) = (e.needed, e.available);
        match status {
            sys::HEARTH_E_NOT_FOUND => LLMError::ModelNotFound { message },
            sys::HEARTH_E_MEMORY => LLMError::OutOfMemory { needed, available, message },
            sys::HEARTH_E_CONFIG => LLMError::InvalidConfig { message },
            sys::HEARTH_E_INFERENCE => LLMError::InferenceError { message },
            sys::HEARTH_E_FORMAT => LLMError::Format { message },
            sys::HEARTH_E_UNSUPPORTED => LLMError::Unsupported { message },
            sys::HEARTH_E_IO => LLMError::Io { message },
            sys::HEARTH_E_STATE => LLMError::State { message },
            sys::HEARTH_E_CONTEXT_FULL => LLMError::ContextFull { needed, available, message },
            sys::HEARTH_E_CANCELLED => LLMError::Cancelled { message },
            sys::HEARTH_E_BUSY => LLMError::Busy { message },
            sys::HEARTH_E_FORKED => LLMError::Forked { message },
            status => LLMError::Unknown { status, message },
        }
    }
}

impl fmt::Display for LLMError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for LLMError {}

pub type Result<T> = std::result::Result<T, LLMError>;

/// Call a function of C with an error to fill in. A panic of a closure that it called goes on from here.
pub(crate) fn check(call: impl FnOnce(*mut sys::hearth_error) -> sys::hearth_status) -> Result<()> {
    let mut error = sys::hearth_error::default();
    let status = call(&mut error);
    guard::resume();
    match status {
        sys::HEARTH_OK => Ok(()),
        status => Err(LLMError::from_c(status, &error)),
    }
}

/// Call a function of C that opens something. `own` takes what it gave before a panic goes on, so that it is closed then.
pub(crate) fn open<H, T>(
    call: impl FnOnce(*mut *mut H, *mut sys::hearth_error) -> sys::hearth_status,
    own: impl FnOnce(*mut H) -> T,
) -> Result<T> {
    let mut raw = std::ptr::null_mut();
    let mut opened = None;
    check(|error| {
        let status = call(&mut raw, error);
        opened = (status == sys::HEARTH_OK).then(|| own(raw));
        status
    })?;
    Ok(opened.expect("what check() lets pass is open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_error() {
        let c = sys::hearth_error { needed: 7, available: 5, ..Default::default() };
        for status in 1.. {
            // SAFETY: takes a number, gives static text.
            let name = unsafe { text_of(sys::hearth_status_name(status)) };
            let error = LLMError::from_c(status, &c);
            if name == "E_UNKNOWN" {
                assert!(status > sys::HEARTH_E_FORKED);
                assert_eq!(error, LLMError::Unknown { status, message: String::new() });
                break;
            }
            assert!(!matches!(error, LLMError::Unknown { .. }), "{name} is not known");
        }
        let memory = LLMError::from_c(sys::HEARTH_E_MEMORY, &c);
        assert_eq!(memory, LLMError::OutOfMemory { needed: 7, available: 5, message: String::new() });
    }
}
