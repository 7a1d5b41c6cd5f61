//! Conversations through the safe interface.
mod common;

use common::*;
use hearth::*;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc;

fn chat_limits(context: u32) -> Limits {
    Limits { context, chat: true, ..limits() }
}

fn context(positions: u32, options: ContextOptions) -> Context<'static> {
    let limits = chat_limits(positions);
    let model = Model::open(&engine(), home(), &limits).unwrap();
    let mut session = model.session(&limits).unwrap();
    session.set_params(&greedy(40)).unwrap();
    Context::open(session, options).unwrap()
}

#[test]
fn a_conversation_grows_and_goes_back() {
    let mut chat = context(256, ContextOptions::default());
    let mut text = String::new();
    let answer = chat
        .send("Turn on the kitchen light.", |piece| {
            text.push_str(piece);
            true
        })
        .unwrap();
    assert_eq!(answer.text, "Okay, the kitchen light is now on.");
    assert_eq!(text, answer.text);
    let first = chat.prompt_info().unwrap();
    assert_eq!(first.n_kept, 0);
    chat.send("And the bedroom light?", |_| true).unwrap();
    assert!(chat.prompt_info().unwrap().n_kept > 0);

    let messages = chat.messages().unwrap();
    assert_eq!(messages.len(), 4);
    let roles: Vec<_> = messages.iter().map(|m| (m.role, m.number)).collect();
    assert_eq!(roles, [(Role::User, 0), (Role::Assistant, 1), (Role::User, 2), (Role::Assistant, 3)]);
    assert_eq!(messages[1].text, "Okay, the kitchen light is now on.");
    assert!(messages[1].n_tokens > 3);
    assert!(chat.current_length() > 20 && chat.max_length() == 256);

    chat.pop().unwrap();
    let again = chat.answer(|_| true).unwrap();
    assert_eq!(again.text, messages[3].text);
    let mut logprobs = 0;
    chat.pop().unwrap();
    chat.answer_tokens(Logprobs { chosen: true, top: 0 }, |token| {
        logprobs += usize::from(token.logprob <= 0.0);
        true
    })
    .unwrap();
    assert!(logprobs > 3);

    chat.set_system(Some("Be brief.")).unwrap();
    assert_eq!(chat.messages().unwrap()[0].role, Role::System);
    chat.clear();
    assert_eq!(chat.messages().unwrap().len(), 1);
    chat.set_system(None).unwrap();
    assert_eq!(chat.messages().unwrap(), []);
    assert!(matches!(chat.pop(), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(chat.answer(|_| true), Err(LLMError::InvalidConfig { .. })));
    chat.add(Role::User, "Hello").unwrap();
    assert!(matches!(chat.add(Role::System, "x"), Err(LLMError::InvalidConfig { .. })));
}

#[test]
fn notes_are_kept_beside_it() {
    let mut chat = context(256, ContextOptions::default());
    assert_eq!(chat.metadata("title"), None);
    chat.set_metadata("title", Some(b"Lights\0on")).unwrap();
    chat.set_metadata("empty", Some(b"")).unwrap();
    assert_eq!(chat.metadata("title").unwrap(), b"Lights\0on");
    assert_eq!(chat.metadata("empty").unwrap(), b"");
    chat.set_metadata("title", None).unwrap();
    assert_eq!(chat.metadata("title"), None);
    assert!(matches!(chat.set_metadata("a\0b", Some(b"")), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(chat.set_metadata("big", Some(&[0; 10_000])), Err(LLMError::InvalidConfig { .. })));
}

#[test]
fn a_conversation_goes_on_from_its_file() {
    let scratch = Scratch::new("chat");
    let path = scratch.0.join("state");
    let mut twin = context(256, ContextOptions::default());
    twin.set_metadata("title", Some(b"Lights")).unwrap();
    twin.send("Turn on the kitchen light.", |_| true).unwrap();
    twin.save(&path).unwrap();
    let whole = twin.send("And the bedroom light?", |_| true).unwrap();

    let mut chat = context(256, ContextOptions::default());
    chat.restore(&path).unwrap();
    assert_eq!(chat.metadata("title").unwrap(), b"Lights");
    let answer = chat.send("And the bedroom light?", |_| true).unwrap();
    assert_eq!((answer.ids, answer.text), (whole.ids, whole.text));
    assert_eq!(chat.messages().unwrap(), twin.messages().unwrap());
    assert_eq!(chat.prompt_info().unwrap(), twin.prompt_info().unwrap());

    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 40;
    bytes[end] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(chat.restore(&path), Err(LLMError::State { .. })));
    assert_eq!(chat.messages().unwrap(), twin.messages().unwrap());
}

#[test]
fn what_is_dropped_is_told() {
    let (tell, told) = mpsc::channel();
    let options = ContextOptions {
        when_full: WhenFull::DropOldest,
        reserve: 20,
        dropped: Some(Box::new(move |message| tell.send(message.number).unwrap())),
        ..Default::default()
    };
    let mut chat = context(96, options);
    for _ in 0..8 {
        chat.send("Turn on the kitchen light.", |_| true).unwrap();
    }
    let dropped: Vec<u64> = told.try_iter().collect();
    assert!(!dropped.is_empty());
    assert_eq!(dropped, (0..dropped.len() as u64).collect::<Vec<_>>());
    assert_eq!(chat.messages().unwrap()[0].number, dropped.len() as u64);

    let mut chat = context(96, ContextOptions { reserve: 20, ..Default::default() });
    let full = (0..8).find_map(|_| chat.send("Turn on the kitchen light.", |_| true).err()).unwrap();
    assert!(matches!(full, LLMError::ContextFull { needed, available: 96, .. } if needed > 96));
    assert_eq!(chat.messages().unwrap().len() % 2, 0, "the message is taken back");
}

#[test]
fn refusals_panics_and_cancellation() {
    let model = model();
    let without = Context::open(model.session(&limits()).unwrap(), ContextOptions::default());
    assert!(matches!(without.err(), Some(LLMError::InvalidConfig { .. })));
    let options = ContextOptions { family: Some("none".into()), ..Default::default() };
    let session = Model::open(&engine(), home(), &chat_limits(256)).unwrap().session(&chat_limits(256)).unwrap();
    assert!(matches!(Context::open(session, options).err(), Some(LLMError::InvalidConfig { .. })));

    let mut chat =
        context(256, ContextOptions { chat_template: Some("{{ raise_exception('never') }}".into()), ..Default::default() });
    match chat.send("Hello", |_| true) {
        Err(LLMError::InvalidConfig { message }) => assert!(message.contains("never"), "{message}"),
        other => panic!("{other:?}"),
    }

    let mut chat = context(256, ContextOptions::default());
    let canceller = chat.canceller();
    let cancelled = chat.send("Turn on the kitchen light.", |_| {
        canceller.cancel();
        true
    });
    assert!(matches!(cancelled, Err(LLMError::Cancelled { .. })));
    chat.session().resume();
    assert_eq!(chat.messages().unwrap().len(), 2, "what was said stays");
    chat.clear();

    let panic = catch_unwind(AssertUnwindSafe(|| chat.send("Turn on the kitchen light.", |_| panic!("no light"))));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"no light"));
    chat.clear();
    let answer = std::thread::spawn(move || chat.send("Turn on the kitchen light.", |_| true)).join().unwrap().unwrap();
    assert_eq!(answer.text, "Okay, the kitchen light is now on.");
}
