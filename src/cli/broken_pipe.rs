//! Ends a command quietly if the reader of its output has ended, as with `| head`.

use std::any::Any;

/// The exit code that shells report for SIGPIPE: 128 + 13.
const BROKEN_PIPE: i32 = 141;

/// Makes the command end quietly if it prints to a closed pipe. The standard library ignores SIGPIPE and
/// panics instead, so this sets a panic hook.
pub(super) fn exit_quietly() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if is_closed_pipe(panic.payload()) {
            std::process::exit(BROKEN_PIPE);
        }
        default(panic);
    }));
}

fn is_closed_pipe(payload: &(dyn Any + Send)) -> bool {
    let message = payload.downcast_ref::<String>();
    message.is_some_and(|message| {
        message.starts_with("failed printing to std") && message.contains("Broken pipe")
    })
}
