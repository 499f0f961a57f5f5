//! The answers to requests with an idempotency key: a repetition gets the first answer again.

use serde_json::Value;
use std::collections::VecDeque;

/// The latest answers.
#[derive(Debug, Default)]
pub struct Replies(VecDeque<Reply>);

/// What was asked and answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The idempotency key with the API key and the address.
    pub key: String,
    /// The body of the request.
    pub request: Vec<u8>,
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer.
    pub body: Value,
}

const REPLIES_MAX: usize = 1000;

impl Replies {
    /// Keeps an answer.
    pub fn keep(&mut self, reply: Reply) {
        if self.0.len() >= REPLIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(reply);
    }

    /// The answer to the first request with this key.
    pub fn find(&self, key: &str) -> Option<&Reply> {
        self.0.iter().find(|reply| reply.key == key)
    }
}
