//! A day of an application with several models under one cap: application CAP_MIB A.gguf B.gguf STATE_FOLDER
//!
//! Load A, talk, switch to B, talk, switch back, and go on with A's conversation, whose answers have the bits of one that was never
//! interrupted. Ask for a model that cannot fit, and for one that is not there; neither takes anything away.
use hearth::*;
use std::path::Path;

const QUESTIONS: [&str; 3] = ["Turn on the kitchen light.", "And the bedroom light?", "Thank you. Is it warm?"];

fn show_text(text: &str) -> bool {
    print!("{text}");
    true
}

fn talk(context: &mut Context<'_>, question: &str) -> Result<Answer> {
    let answer = context.send(question, show_text)?;
    println!(" [{} tokens, {:?}]", answer.ids.len(), answer.stop);
    Ok(answer)
}

/// B is a base model: it knows no turns and only goes on with a text.
fn go_on(session: &mut Session<'_>, text: &str) -> Result<()> {
    session.feed_text(text, Tokenize::BOS)?;
    println!(" [{} tokens]", session.generate(show_text)?.ids.len());
    Ok(())
}

fn params(session: &mut Session<'_>) -> Result<()> {
    session.set_params(&InferenceParams { temperature: 0.9, seed: 42, max_tokens: 30, ..Default::default() })
}

/// Limits of A, which holds conversations.
fn limits() -> Limits {
    Limits { context: 512, batch: 128, chat: true, ..Default::default() }
}

/// A's conversation without an interruption.
fn twin(engine: &Engine, path: &Path) -> Result<(Vec<Answer>, Vec<Message>)> {
    let session = Model::open(engine, path, &limits())?.session(&limits())?;
    let mut context = Context::open(session, ContextOptions::default())?;
    params(&mut context.session())?;
    let answers = QUESTIONS.iter().map(|question| talk(&mut context, question)).collect::<Result<_>>()?;
    Ok((answers, context.messages()?))
}

fn show(manager: &ModelManager) -> Result<()> {
    for model in manager.models()? {
        println!("  {}: {:?}, {} of {} bytes", model.name, model.residence, model.resident_bytes, model.plan_bytes);
    }
    Ok(())
}

fn day(engine: &Engine, a: &Path, b: &Path, states: &Path) -> Result<(Vec<Answer>, Vec<Message>)> {
    let mut manager = ModelManager::open(engine, states)?;
    manager.register("a", a, &limits())?;
    manager.register("b", b, &Limits { chat: false, ..limits() })?;
    manager.register("huge", a, &Limits { context: 1 << 24, kv_type: KvType::F32, ..limits() })?;

    manager.switch_model("a")?;
    let mut context = manager.context().expect("a is current");
    params(&mut context.session())?;
    let mut answers = vec![talk(&mut context, QUESTIONS[0])?];

    manager.switch_model("b")?;
    show(&manager)?;
    let mut session = manager.session().expect("b is current");
    params(&mut session)?;
    go_on(&mut session, "The hearth")?;

    manager.switch_model("a")?;
    show(&manager)?;
    answers.push(talk(&mut manager.context().expect("a is current"), QUESTIONS[1])?);

    match manager.switch_model("huge") {
        Err(LLMError::OutOfMemory { needed, available, .. }) if needed > available => {
            println!("huge needs {needed} bytes, {available} are available");
        }
        other => panic!("huge: {other:?}"),
    }
    for missing in [manager.switch_model("c"), manager.register("c", "/nonexistent.gguf", &Limits::default())] {
        match missing {
            Err(LLMError::ModelNotFound { message }) => println!("not found: {message}"),
            other => panic!("c: {other:?}"),
        }
    }
    assert_eq!(manager.current().as_deref(), Some("a"));
    answers.push(talk(&mut manager.context().expect("a is current"), QUESTIONS[2])?);
    let messages = manager.context().expect("a is current").messages()?;
    let freed = manager.optimize_memory()?;
    println!("optimized: {} models left, {} bytes freed", freed.n_unloaded, freed.bytes_freed);
    manager.save_state()?;
    Ok((answers, messages))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (cap, a, b, states) = match arguments.as_slice() {
        [_, cap, a, b, states] => (cap.parse::<u64>().expect("a number of MiB"), Path::new(a), Path::new(b), Path::new(states)),
        _ => panic!("usage: application CAP_MIB A B STATE_FOLDER"),
    };
    let engine = Engine::open(MemoryConfig { max_ram_usage: cap << 20, ..Default::default() })?;
    let (answers, messages) = day(&engine, a, b, states)?;
    println!("never interrupted:");
    let (whole, whole_messages) = twin(&engine, a)?;
    for (answer, twin) in answers.iter().zip(&whole) {
        assert_eq!((&answer.ids, &answer.text, answer.stop), (&twin.ids, &twin.text, twin.stop));
    }
    assert_eq!(messages, whole_messages);
    println!("the same {} answers, token by token", whole.len());
    Ok(())
}
