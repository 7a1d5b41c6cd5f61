//! Engine, plan, model and session through the safe interface.
mod common;

use common::*;
use hearth::*;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[test]
fn an_answer_streams_and_is_the_one_of_the_program() {
    let mut session = model().session(&limits()).unwrap();
    session.set_params(&greedy(40)).unwrap();
    assert!(session.feed_text(LIGHT, Tokenize::PROMPT).unwrap() > 5);
    let mut pieces = Vec::new();
    let answer = session
        .generate(|text| {
            pieces.push(text.to_string());
            true
        })
        .unwrap();
    assert_eq!(answer.text, "Okay, the kitchen light is now on.");
    assert_eq!(pieces.concat(), answer.text);
    assert!(pieces.len() > 3);
    assert_eq!(answer.stop, Stop::End);
    assert!(session.model().is_end(*answer.ids.last().unwrap()));
    assert!(answer.seconds > 0.0);

    session.reset();
    assert_eq!(session.position(), 0);
    session.set_params(&InferenceParams { stop_tokens: vec!["light".into()], ..greedy(40) }).unwrap();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    let answer = session.generate(|_| true).unwrap();
    assert_eq!((answer.text.as_str(), answer.stop), ("Okay, the kitchen ", Stop::StopToken));
}

#[test]
fn tokens_go_there_and_back() {
    let model = model();
    let text = "The hearth \u{1f525} is warm. ".repeat(50);
    let ids = model.tokenize(&text, Tokenize::PLAIN).unwrap();
    assert!(ids.len() > 64);
    assert_eq!(String::from_utf8(model.detokenize(&ids).unwrap()).unwrap(), text);
    assert_eq!(model.tokenize("", Tokenize::PLAIN).unwrap(), []);
    assert_eq!(model.detokenize(&[]).unwrap(), b"");
    let special = model.tokenize("<|end|>", Tokenize { bos: false, special: true }).unwrap();
    assert_eq!(special.len(), 1);
    assert_eq!(model.detokenize(&special).unwrap(), b"");
    let marked = model.tokenize_marked("<|end|>", &[1; 7], Tokenize { bos: false, special: true }).unwrap();
    assert_eq!(marked, model.tokenize("<|end|>", Tokenize::PLAIN).unwrap());
    assert!(matches!(model.tokenize_marked("<|end|>", &[1], Tokenize::PLAIN), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(model.detokenize(&[-1]), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(model.tokenize_infill("a", "b"), Err(LLMError::Unsupported { .. })));
}

#[test]
fn pieces_of_an_answer_are_the_answer() {
    let model = model();
    let params = InferenceParams { seed: 7, max_tokens: 30, ignore_end: true, ..Default::default() };
    let answer = |pieces: &[u32]| {
        let mut session = model.session(&limits()).unwrap();
        session.set_params(&params).unwrap();
        session.feed_text("The hearth", Tokenize::BOS).unwrap();
        let mut ids = Vec::new();
        for &n in pieces {
            let mut left = n;
            let piece = session.generate(|_| {
                left -= 1;
                left > 0
            });
            ids.extend(piece.unwrap().ids);
        }
        ids
    };
    // The closure is called where there is a whole character to show, at most once a token.
    let whole = answer(&[1000]);
    assert_eq!(whole.len(), 30);
    let parted = answer(&[3, 1, 5]);
    assert!(parted.len() >= 9);
    assert_eq!(parted, whole[..parted.len()]);
}

#[test]
fn logits_are_those_of_the_last_token() {
    let mut session = model().session(&Limits { logits_rows: 2, ..limits() }).unwrap();
    assert!(session.logits(0).is_none());
    session.set_params(&greedy(1)).unwrap();
    session.feed_text("The hearth is", Tokenize::BOS).unwrap();
    let logits = session.logits(0).unwrap().to_vec();
    assert_eq!(logits.len() as u32, session.model().vocabulary_size());
    assert!(session.logits(1).is_some() && session.logits(2).is_none());
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a))).unwrap();
    let chosen = session.sample().unwrap();
    assert_eq!(chosen, best as i32);
    session.feed(&[chosen]).unwrap();
    assert_ne!(session.logits(0).unwrap(), logits);
}

#[test]
fn errors_are_the_applications() {
    let engine = engine();
    match Model::open(&engine, "/nonexistent/model.gguf", &limits()) {
        Err(LLMError::ModelNotFound { message }) => assert!(message.contains("/nonexistent/model.gguf"), "{message}"),
        other => panic!("{:?}", other.err()),
    }
    assert!(matches!(Model::open(&engine, "with\0nul", &limits()), Err(LLMError::ModelNotFound { .. })));
    assert!(matches!(Model::open(&engine, source("README.md"), &limits()), Err(LLMError::Format { .. })));
    let huge = Limits { context: 1 << 24, ..limits() };
    match Model::open(&engine, home(), &huge) {
        Err(LLMError::OutOfMemory { needed, available, message }) => {
            assert!(needed > available && available <= 200 << 20, "{needed} {available}");
            assert!(message.contains("does not fit"), "{message}");
        }
        other => panic!("{:?}", other.err()),
    }
    assert!(matches!(Model::open(&engine, home(), &Limits { context: u32::MAX, ..limits() }), Err(LLMError::InvalidConfig { .. })));
    let too_many = EngineOptions { threads: 100_000, ..Default::default() };
    assert!(matches!(Engine::open(too_many), Err(LLMError::InvalidConfig { .. })));

    let model = Model::open(&engine, home(), &limits()).unwrap();
    let mut session = model.session(&limits()).unwrap();
    for bad in [
        InferenceParams { temperature: f32::NAN, ..Default::default() },
        InferenceParams { top_p: 1.5, ..Default::default() },
        InferenceParams { order: vec![Sampler::TopK; 9], ..Default::default() },
        InferenceParams { logit_bias: vec![(0, 0.0); 257], ..Default::default() },
        InferenceParams { stop_tokens: vec!["a\0b".into()], ..Default::default() },
    ] {
        assert!(matches!(session.set_params(&bad), Err(LLMError::InvalidConfig { .. })), "{bad:?}");
    }
    assert!(matches!(session.feed(&[]), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(session.feed(&[i32::MAX]), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(session.sample(), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(session.set_grammar(Some("root ::= \"a\"")), Err(LLMError::InvalidConfig { .. })));
    assert!(matches!(session.feed(&[1; 257]), Err(LLMError::ContextFull { needed: 257, available: 256, .. })));
    let estimate = session.estimate("The hearth", Tokenize::BOS, 300).unwrap();
    assert!(!estimate.fits && estimate.n_context == 256 && estimate.n_needed == estimate.n_prompt + 300);
}

#[test]
fn a_plan_says_what_it_takes() {
    let engine = engine();
    let plan = engine.plan(home(), &limits()).unwrap();
    assert_eq!(plan.private_bytes, plan.lines.iter().map(|line| line.1).sum::<u64>());
    assert_eq!((plan.context, plan.batch, plan.cap_bytes), (256, 64, 200 << 20));
    assert!(plan.fits.is_ok() && plan.lines.iter().any(|line| line.0 == "weights"));
    let plan = engine.plan(home(), &Limits { context: 1 << 24, ..limits() }).unwrap();
    assert!(matches!(plan.fits, Err(LLMError::OutOfMemory { needed, .. }) if needed == plan.private_bytes));
    assert!(matches!(engine.plan("/nonexistent", &limits()), Err(LLMError::ModelNotFound { .. })));
}

#[test]
fn pages_are_chosen() {
    let plan = |page_size| {
        let memory = MemoryConfig { max_ram_usage: 200 << 20, page_size, prefetch_size: 1 << 20, ..Default::default() };
        let engine = Engine::open(EngineOptions { memory, threads: 1, ..Default::default() }).unwrap();
        let model = Model::open(&engine, home(), &limits()).unwrap();
        let mut session = model.session(&limits()).unwrap();
        session.set_params(&greedy(40)).unwrap();
        session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
        assert_eq!(session.generate(|_| true).unwrap().text, "Okay, the kitchen light is now on.");
        engine.plan(home(), &limits()).unwrap().private_bytes
    };
    assert!(plan(PageSize::Small) < plan(PageSize::Auto));
    assert_eq!(plan(PageSize::Auto), plan(PageSize::Large));
}

#[test]
fn a_grammar_holds() {
    let limits = Limits { grammar: true, ..limits() };
    let engine = engine();
    let model = Model::open(&engine, home(), &limits).unwrap();
    let mut session = model.session(&limits).unwrap();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    assert!(matches!(session.set_grammar(Some("root ::= (")), Err(LLMError::InvalidConfig { .. })));
    session.set_grammar(Some("root ::= \"yes\" | \"no\"")).unwrap();
    let answer = session.generate(|_| true).unwrap();
    assert!(answer.text == "yes" || answer.text == "no", "{}", answer.text);
    assert_eq!(answer.stop, Stop::End);
}

#[test]
fn a_session_goes_back() {
    let model = model();
    let ids = model.tokenize("The hearth is warm, and the light is on.", Tokenize::BOS).unwrap();
    let mut session = model.session(&Limits { batch: 4, ..limits() }).unwrap();
    session.feed(&ids).unwrap();
    assert_eq!(session.tokens(), ids);
    let logits = session.logits(0).unwrap().to_vec();
    session.rewind(5).unwrap();
    assert_eq!(session.tokens(), &ids[..5]);
    assert!(session.logits(0).is_none());
    assert!(matches!(session.rewind(6), Err(LLMError::InvalidConfig { .. })));
    let info = session.prompt(&ids).unwrap();
    assert_eq!(info, PromptInfo { n_kept: 5, n_restored: 0, n_computed: ids.len() as u32 - 5 });
    assert_eq!(session.logits(0).unwrap(), logits);
    session.reset();
    assert_eq!(session.tokens(), []);
}

#[test]
fn a_session_goes_on_from_its_file() {
    let model = model();
    let params = InferenceParams { temperature: 0.9, seed: 5, ignore_end: true, max_tokens: 20, ..Default::default() };
    let begun = || {
        let mut session = model.session(&limits()).unwrap();
        session.set_params(&params).unwrap();
        session.feed_text("The hearth", Tokenize::BOS).unwrap();
        session.generate(|_| true).unwrap();
        session
    };
    let whole = begun().generate(|_| true).unwrap();
    let scratch = Scratch::new("state");
    let path = scratch.0.join("state");
    let mut session = begun();
    session.save(&path).unwrap();

    let mut other = model.session(&Limits { batch: 32, ..limits() }).unwrap();
    other.set_params(&params).unwrap(); // of which max_tokens stays, and the rest is restored
    other.restore(&path).unwrap();
    assert_eq!(other.tokens(), session.tokens());
    assert_eq!(other.generate(|_| true).unwrap().ids, whole.ids);

    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let before = other.tokens().to_vec();
    assert!(matches!(other.restore(&path), Err(LLMError::State { .. })));
    assert_eq!(other.tokens(), before);
    assert!(matches!(other.restore(scratch.0.join("missing")), Err(LLMError::ModelNotFound { .. })));
    assert!(matches!(other.restore(&scratch.0), Err(LLMError::Io { .. })));
    assert!(matches!(other.save(scratch.0.join("missing/state")), Err(LLMError::ModelNotFound { .. })));
}

#[test]
fn a_prefix_is_taken_up_again() {
    let memory = MemoryConfig { max_ram_usage: 200 << 20, cache_size: 8 << 20, ..Default::default() };
    let engine = Engine::open(memory).unwrap();
    let model = Model::open(&engine, home(), &limits()).unwrap();
    let ids = model.tokenize(&"The hearth is warm, and the light is on. ".repeat(8), Tokenize::BOS).unwrap();
    assert!(ids.len() > 65);
    let mut session = model.session(&limits()).unwrap();
    session.feed(&ids).unwrap();
    let logits = session.logits(0).unwrap().to_vec();
    drop(session);
    let mut session = model.session(&limits()).unwrap();
    let info = session.prompt(&ids).unwrap();
    assert!(info.n_restored >= 64 && info.n_kept + info.n_restored + info.n_computed == ids.len() as u32, "{info:?}");
    assert_eq!(session.logits(0).unwrap(), logits);
}

#[test]
fn tokens_come_with_their_probabilities() {
    let mut session = model().session(&limits()).unwrap();
    session.set_params(&greedy(40)).unwrap();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    let (mut ids, mut text) = (Vec::new(), Vec::new());
    let answer = session
        .generate_tokens(Logprobs { chosen: true, top: 3 }, |token| {
            assert_eq!(token.top.len(), 3);
            assert_eq!((token.top[0].token, token.top[0].logprob), (token.id, token.logprob));
            assert!(token.logprob <= 0.0 && token.top[1].logprob >= token.top[2].logprob);
            ids.push(token.id);
            text.extend_from_slice(token.text);
            true
        })
        .unwrap();
    assert_eq!(answer.text, "Okay, the kitchen light is now on.");
    assert_eq!((answer.ids, answer.text.as_bytes()), (ids, text.as_slice()));

    session.reset();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    let answer = session
        .generate_tokens(Logprobs::default(), |token| {
            assert!(token.logprob.is_nan() && token.top.is_empty());
            false
        })
        .unwrap();
    assert_eq!((answer.ids.len(), answer.stop), (1, Stop::Closure));
    assert!(matches!(session.generate_tokens(Logprobs { chosen: true, top: 21 }, |_| true), Err(LLMError::InvalidConfig { .. })));
}

#[test]
fn an_engine_is_told_to_stop() {
    let abort = Arc::new(AtomicBool::new(false));
    let seen = Arc::new(AtomicBool::new(false));
    let saw = seen.clone();
    let engine = Engine::open(EngineOptions {
        threads: 2,
        progress: Some(Box::new(move |done, total| {
            saw.store(done == total, Ordering::Relaxed);
            true
        })),
        abort: Some(abort.clone()),
        ..Default::default()
    })
    .unwrap();
    let model = Model::open(&engine, home(), &limits()).unwrap();
    assert!(seen.load(Ordering::Relaxed));
    let mut session = model.session(&limits()).unwrap();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    abort.store(true, Ordering::Relaxed);
    assert!(matches!(session.generate(|_| true), Err(LLMError::Cancelled { .. })));
    assert!(matches!(Model::open(&engine, home(), &limits()), Err(LLMError::Cancelled { .. })));
    abort.store(false, Ordering::Relaxed);
    session.generate(|_| true).unwrap();
}

/// Cancelled from another thread, and finished afterwards as if nothing had happened.
#[test]
fn cancellation_comes_from_another_thread() {
    let model = model();
    let params = InferenceParams { ignore_end: true, ..greedy(120) };
    let mut twin = model.session(&limits()).unwrap();
    twin.set_params(&params).unwrap();
    twin.feed_text("The hearth", Tokenize::BOS).unwrap();
    let whole = twin.generate(|_| true).unwrap();

    let mut session = model.session(&limits()).unwrap();
    session.set_params(&params).unwrap();
    session.feed_text("The hearth", Tokenize::BOS).unwrap();
    let canceller = session.canceller();
    let (begun, wait) = mpsc::channel();
    let mut text = String::new();
    let cancelled = std::thread::scope(|scope| {
        let stopper = canceller.clone();
        scope.spawn(move || {
            wait.recv().unwrap();
            stopper.cancel();
        });
        session.generate(|piece| {
            text.push_str(piece);
            let _ = begun.send(());
            std::thread::sleep(Duration::from_millis(2));
            true
        })
    });
    assert!(matches!(cancelled, Err(LLMError::Cancelled { .. })), "{cancelled:?}");
    assert!(matches!(session.generate(|_| true), Err(LLMError::Cancelled { .. })), "a cancellation holds until resume()");
    session.resume();
    let done = session.position(); // one more is owed to the cache
    session
        .generate(|piece| {
            text.push_str(piece);
            true
        })
        .unwrap();
    assert!(done > 0);
    assert!(text.starts_with(&whole.text));

    drop(session);
    canceller.cancel(); // and nothing happens
    canceller.resume();
}

#[test]
fn a_deadline_passes() {
    let mut session = model().session(&limits()).unwrap();
    session.set_params(&InferenceParams { ignore_end: true, ..greedy(200) }).unwrap();
    session.feed_text("The hearth", Tokenize::BOS).unwrap();
    session.set_deadline(Some(Duration::from_millis(20))).unwrap();
    let begin = Instant::now();
    let cancelled = session.generate(|_| {
        std::thread::sleep(Duration::from_millis(5));
        true
    });
    assert!(matches!(cancelled, Err(LLMError::Cancelled { .. })));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    session.set_deadline(Some(Duration::ZERO)).unwrap();
    assert!(matches!(session.generate(|_| true), Err(LLMError::Cancelled { .. })));
    session.set_deadline(None).unwrap();
    session.generate(|_| false).unwrap();
}

/// A panic in a closure never runs through C: it stops the call, comes out behind it, and leaves everything usable.
#[test]
fn panics_go_around_c() {
    let mut session = model().session(&limits()).unwrap();
    session.set_params(&greedy(40)).unwrap();
    session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
    let mut text = String::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        session.generate(|piece| {
            text.push_str(piece);
            assert!(text.len() < 10, "enough");
            true
        })
    }));
    assert!(panic.unwrap_err().downcast_ref::<&str>().unwrap().contains("enough"));
    let rest = session.generate(|_| true).unwrap();
    assert_eq!(text + &rest.text, "Okay, the kitchen light is now on.");

    let engine = engine();
    let panic =
        catch_unwind(AssertUnwindSafe(|| Model::open_with_progress(&engine, home(), &limits(), |_, _| panic!("not so far"))));
    assert_eq!(panic.err().unwrap().downcast_ref::<&str>(), Some(&"not so far"));
    let stopped = Model::open_with_progress(&engine, home(), &limits(), |_, _| false);
    assert!(matches!(stopped, Err(LLMError::Cancelled { .. })));
    let mut seen = (0, 1);
    Model::open_with_progress(&engine, home(), &limits(), |done, total| {
        assert!(done >= seen.0 && done <= total);
        seen = (done, total);
        true
    })
    .unwrap();
    assert_eq!(seen.0, seen.1);
}

/// Handles may be dropped in any order: what still needs them keeps them.
#[test]
fn sessions_keep_their_model_and_engine() {
    let engine = engine();
    assert!(engine.threads() == 2 && !engine.summary().is_empty() && !engine.cpu_level().is_empty());
    let model = Model::open(&engine, home(), &limits()).unwrap();
    let mut session = model.session(&limits()).unwrap();
    drop(engine);
    assert_eq!(model.engine().threads(), 2);
    drop(model);
    session.feed_text("The hearth", Tokenize::BOS).unwrap();
    assert!(session.model().vocabulary_size() > 0);
}

#[test]
fn sessions_of_one_model_compute_on_many_threads() {
    let model = model();
    let answer = |model: &Model| {
        let mut session = model.session(&limits()).unwrap();
        session.set_params(&InferenceParams { seed: 3, ..InferenceParams::default() }).unwrap();
        session.feed_text(LIGHT, Tokenize::PROMPT).unwrap();
        session.generate(|_| true).unwrap().ids
    };
    let serial = answer(&model);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| answer(&model))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), serial);
        }
    });
}

#[test]
fn the_log_is_heard_and_may_panic() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let scratch = Scratch::new("log");
    let options = EngineOptions {
        threads: 1,
        pack_cache: Some(scratch.0.clone()),
        verify: Verify::Lazy,
        log: Some(Box::new(move |level, line| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push((level, line.to_string()));
            assert!(level == Level::Warning, "a log that panics");
        })),
        ..Default::default()
    };
    let engine = Engine::open(options).unwrap();
    let cap = engine.plan(home(), &limits()).unwrap().cap_bytes;
    let panic = catch_unwind(AssertUnwindSafe(|| Model::open(&engine, home(), &limits())));
    assert!(panic.err().unwrap().downcast_ref::<&str>().unwrap().contains("a log that panics"));
    assert_eq!(engine.plan(home(), &limits()).unwrap().cap_bytes, cap, "the model that was opened all the same is closed");
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(lines.iter().any(|line| line.0 == Level::Information && line.1.contains("pack cache")), "{lines:?}");
}
