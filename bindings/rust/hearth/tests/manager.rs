//! Several models under one cap; the application's whole day is `examples/application.rs`.
mod common;

use common::*;
use hearth::*;

fn answer(session: &mut Session<'_>) -> Vec<i32> {
    session.set_params(&greedy(20)).unwrap();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    session.generate(|_| true).unwrap().ids
}

#[test]
fn models_come_and_go() {
    let scratch = Scratch::new("manager");
    let mut manager = ModelManager::open(&engine(), scratch.0.join("states")).unwrap();
    assert!(manager.session().is_none() && manager.current().is_none() && manager.models().unwrap().is_empty());
    manager.canceller().cancel(); // and nothing happens
    manager.register("home", home(), &limits()).unwrap();
    manager.register("again", home(), &limits()).unwrap();
    assert!(matches!(manager.register("home", home(), &limits()), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(manager.register("../home", home(), &limits()), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(manager.register("a\0b", home(), &limits()), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(manager.register("missing", "/nonexistent", &limits()), Err(LLMError::ModelNotFound { .. })));
    assert!(matches!(manager.register("text", source("README.md"), &limits()), Err(LLMError::Format { .. })));
    assert!(matches!(manager.switch_model("missing"), Err(LLMError::ModelNotFound { .. })));

    manager.load_model("again").unwrap();
    assert!(manager.session().is_none());
    manager.switch_model("home").unwrap();
    let ids = answer(&mut manager.session().unwrap());
    assert!(manager.session().unwrap().model().is_end(*ids.last().unwrap()));
    let infos = manager.models().unwrap();
    let states: Vec<_> = infos.iter().map(|m| (m.name.as_str(), m.residence)).collect();
    assert_eq!(states, [("home", Residence::Current), ("again", Residence::Resident)]);
    assert!(infos[0].path == home() && infos[0].resident_bytes > 0 && infos[0].last_used > 0);
    assert_eq!(infos[0].conversation, Conversation::New);

    let optimized = manager.optimize_memory().unwrap();
    assert_eq!(optimized.n_unloaded, 1);
    assert!(optimized.weights > 0);
    manager.save_state().unwrap();
    assert!(manager.models().unwrap()[0].saved);
    manager.unload_model("home").unwrap();
    assert!(manager.session().is_none());
    manager.switch_model("home").unwrap();
    assert_eq!(manager.models().unwrap()[0].conversation, Conversation::Restored);
    assert!(manager.session().unwrap().tokens().ends_with(&ids[..ids.len() - 1]));
    manager.forget("home").unwrap();
    assert_eq!(manager.current(), None);
    assert_eq!(manager.models().unwrap().len(), 1);
}

#[test]
fn contexts_go_with_their_models() {
    let scratch = Scratch::new("contexts");
    let limits = Limits { chat: true, ..limits() };
    let options =
        ContextOptions { when_full: WhenFull::DropOldest, dropped: Some(Box::new(|_| panic!("dropped"))), ..Default::default() };
    let mut manager = ModelManager::open_with(&engine(), scratch.0.join("states"), options).unwrap();
    manager.register("home", home(), &limits).unwrap();
    manager.register("plain", home(), &Limits { chat: false, ..limits.clone() }).unwrap();
    assert!(manager.context().is_none());
    manager.switch_model("home").unwrap();
    let mut context = manager.context().unwrap();
    context.session().set_params(&greedy(20)).unwrap();
    assert_eq!(context.send("Turn on the kitchen light.", |_| true).unwrap().text, "Okay, the kitchen light is now on.");
    context.set_metadata("title", Some(b"Light")).unwrap();
    manager.unload_model("home").unwrap();
    manager.switch_model("plain").unwrap();
    assert!(manager.context().is_none() && manager.session().is_some());
    manager.switch_model("home").unwrap();
    let mut context = manager.context().unwrap();
    assert_eq!(context.messages().unwrap().len(), 2);
    assert_eq!(context.metadata("title").unwrap(), b"Light");
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        (0..40).for_each(|_| drop(context.send("Turn on the kitchen light.", |_| true).unwrap()))
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"dropped"));
}

#[test]
fn a_refused_switch_takes_nothing_away() {
    let scratch = Scratch::new("refused");
    let mut manager = ModelManager::open(&engine(), scratch.0.join("states")).unwrap();
    manager.register("home", home(), &limits()).unwrap();
    manager.register("huge", home(), &Limits { context: 1 << 24, ..limits() }).unwrap();
    manager.switch_model("home").unwrap();
    let ids = answer(&mut manager.session().unwrap());
    match manager.switch_model("huge") {
        Err(LLMError::OutOfMemory { needed, available, .. }) => assert!(needed > available),
        other => panic!("{other:?}"),
    }
    assert_eq!(manager.current().as_deref(), Some("home"));
    let mut session = manager.session().unwrap();
    session.reset();
    assert_eq!(answer(&mut session), ids);
}

/// A canceller of the manager's stops whichever session is current, and is harmless while models come and go.
#[test]
fn cancellation_survives_a_switch() {
    let scratch = Scratch::new("cancel");
    let mut manager = ModelManager::open(&engine(), scratch.0.join("states")).unwrap();
    manager.register("a", home(), &limits()).unwrap();
    manager.register("b", home(), &limits()).unwrap();
    let canceller = manager.canceller();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                canceller.cancel();
                std::thread::yield_now();
            }
        });
        for name in ["a", "b", "a", "b"] {
            manager.switch_model(name).unwrap();
            manager.unload_model(name).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    manager.switch_model("a").unwrap();
    let mut session = manager.session().unwrap();
    session.resume();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    let cancelled = session.generate(|_| {
        canceller.cancel();
        true
    });
    assert!(matches!(cancelled, Err(LLMError::Cancelled { .. })));
    drop(manager);
    canceller.cancel(); // and nothing happens
}
