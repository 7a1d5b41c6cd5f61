//! Closures that C calls. A panic must not run through frames of C: it is caught, the call is told to stop, and the panic goes on
//! when C has returned.
use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

pub(crate) struct Guard<F> {
    closure: F,
    panic: Option<Box<dyn Any + Send>>,
}

impl<F> Guard<F> {
    pub(crate) fn new(closure: F) -> Self {
        Guard { closure, panic: None }
    }

    /// What the closure says; `stop` when it panics, or did before.
    pub(crate) fn call<R>(&mut self, stop: R, run: impl FnOnce(&mut F) -> R) -> R {
        if self.panic.is_some() {
            return stop;
        }
        // AssertUnwindSafe: nobody sees the closure again but by the panic that goes on in finish().
        match catch_unwind(AssertUnwindSafe(|| run(&mut self.closure))) {
            Ok(said) => said,
            Err(panic) => {
                self.panic = Some(panic);
                stop
            }
        }
    }

    /// C has returned: the panic goes on, or the closure is given back.
    pub(crate) fn finish(self) -> F {
        match self.panic {
            Some(panic) => resume_unwind(panic),
            None => self.closure,
        }
    }
}
