//! Hearth from an async runtime, with std alone: calls block for as long as they compute, so they run on a thread of their own, and
//! the async side hears of them through a channel that it may await: from_async MODEL.gguf PROMPT
//!
//! With tokio: `spawn_blocking` for `Answerer::open`'s thread, `tokio::sync::mpsc` for the channel, `blocking_send` in the closure.
use hearth::{Answer, Canceller, Engine, InferenceParams, Limits, MemoryConfig, Model, Result, Tokenize};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// What comes while an answer is made: pieces of text, at last how it ended.
enum Event {
    Piece(String),
    Done(Result<Answer>),
}

/// A channel whose receiver is a future.
#[derive(Default)]
struct Channel {
    state: Mutex<(VecDeque<Event>, Option<Waker>)>,
}

impl Channel {
    fn send(&self, event: Event) {
        let mut state = self.state.lock().unwrap();
        state.0.push_back(event);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

/// An answer being made on its own thread. Dropped, as async runtimes drop what nobody waits for any more, it stops there.
struct Answering {
    channel: Arc<Channel>,
    canceller: Canceller,
}

impl Answering {
    fn begin(model: &Model, prompt: String) -> Result<Self> {
        let mut session = model.session(&Limits::default())?;
        session.set_params(&InferenceParams { temperature: 0.0, max_tokens: 60, ..Default::default() })?;
        let channel = Arc::new(Channel::default());
        let canceller = session.canceller();
        let events = channel.clone();
        thread::spawn(move || {
            let fed = session.feed_text(&prompt, Tokenize::PROMPT);
            let answer = fed.and_then(|_| {
                session.generate(|text| {
                    events.send(Event::Piece(text.to_string()));
                    true
                })
            });
            events.send(Event::Done(answer));
        });
        Ok(Answering { channel, canceller })
    }

    fn next(&self) -> Next<'_> {
        Next(&self.channel)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.canceller.cancel();
    }
}

struct Next<'a>(&'a Channel);

impl Future for Next<'_> {
    type Output = Event;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Event> {
        let mut state = self.0.state.lock().unwrap();
        match state.0.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The smallest runtime there is; yours is in its place.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

async fn show(model: &Model, prompt: &str) -> Result<Answer> {
    let answering = Answering::begin(model, prompt.to_string())?;
    loop {
        match answering.next().await {
            Event::Piece(text) => print!("{text}"),
            Event::Done(answer) => return answer,
        }
    }
}

/// Take one piece of each of several answers made at once, and leave.
async fn peek(model: &Model, prompt: &str) -> Result<()> {
    let several = (0..3).map(|_| Answering::begin(model, prompt.to_string())).collect::<Result<Vec<_>>>()?;
    for answering in &several {
        assert!(matches!(answering.next().await, Event::Piece(_)));
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (path, prompt) = match arguments.as_slice() {
        [_, path, prompt] => (path, prompt),
        _ => panic!("usage: from_async MODEL PROMPT"),
    };
    let engine = Engine::open(MemoryConfig::default())?;
    let model = Model::open(&engine, path, &Limits::default())?;
    block_on(peek(&model, prompt))?;
    let answer = block_on(show(&model, prompt))?;
    println!("\n[{} tokens, {:?}]", answer.ids.len(), answer.stop);
    Ok(())
}
