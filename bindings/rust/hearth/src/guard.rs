//! Closures that C calls, on the thread that called C. A panic must not run through frames of C: it is caught, C is told to stop,
//! and the panic goes on when C has returned.
use std::any::Any;
use std::cell::RefCell;
use std::os::raw::c_void;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

thread_local! {
    static PANIC: RefCell<Option<Box<dyn Any + Send>>> = RefCell::new(None);
}

/// What the closure says; `stop` when it panics, and when one of this call has panicked before.
pub(crate) fn call<R>(stop: R, closure: impl FnOnce() -> R) -> R {
    // Nor where the thread is ending, and its locals are gone.
    if PANIC.try_with(|panic| panic.borrow().is_some()).unwrap_or(true) {
        return stop;
    }
    // AssertUnwindSafe: nobody sees what the closure has touched before resume() lets the panic go on.
    match catch_unwind(AssertUnwindSafe(closure)) {
        Ok(said) => said,
        Err(caught) => {
            PANIC.with(|panic| *panic.borrow_mut() = Some(caught));
            stop
        }
    }
}

/// C has returned.
pub(crate) fn resume() {
    if let Some(panic) = PANIC.with(|panic| panic.borrow_mut().take()) {
        resume_unwind(panic);
    }
}

/// C has returned, and there is nobody for a panic to go on to.
pub(crate) fn forget() {
    let _ = PANIC.try_with(|panic| panic.borrow_mut().take());
}

/// A value that C has the address of.
pub(crate) struct Held<T>(*mut T);

impl<T> Held<T> {
    pub(crate) fn new(value: T) -> Self {
        Held(Box::into_raw(Box::new(value)))
    }

    /// For C; it gives the address back to our functions, which are called where they may use the value.
    pub(crate) fn user(&self) -> *mut c_void {
        self.0 as *mut c_void
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        // SAFETY: from new(), and C, which is done with it, has only lent it.
        drop(unsafe { Box::from_raw(self.0) })
    }
}
