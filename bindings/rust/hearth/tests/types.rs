//! Which types may go to another thread, and which may be shared; decided while compiling.
use hearth::*;

fn send<T: Send>() {}
fn sync<T: Sync>() {}

/// Does not compile for a type that is Sync: `some` would be ambiguous.
macro_rules! not_sync {
    ($type:ty) => {{
        trait Ambiguous<A> {
            fn some() {}
        }
        impl<T: ?Sized> Ambiguous<()> for T {}
        struct IsSync;
        impl<T: ?Sized + Sync> Ambiguous<IsSync> for T {}
        let _ = <$type as Ambiguous<_>>::some;
    }};
}

#[test]
fn send_and_sync_are_as_documented() {
    send::<Engine>();
    sync::<Engine>();
    send::<Model>();
    sync::<Model>();
    send::<Session<'static>>();
    not_sync!(Session<'static>);
    send::<Context<'static>>();
    not_sync!(Context<'static>);
    send::<ModelManager>();
    not_sync!(ModelManager);
    send::<Canceller>();
    sync::<Canceller>();
    send::<InferenceParams>();
    sync::<InferenceParams>();
    send::<Plan>();
    sync::<Plan>();
    send::<LLMError>();
    sync::<LLMError>();
    send::<Answer>();
    sync::<Answer>();
}
