//! A pipe that nobody reads any more, as behind `| head`: the command ends there, and is not to blame.

use std::any::Any;

/// The exit code that shells give to a program which wrote where nobody read.
const NOBODY_READS: i32 = 141;

/// From now on a command ends quietly when it prints where nobody reads. The standard library ignores
/// the signal for it and panics instead.
pub(super) fn end_when_it_closes() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if is_closed_pipe(panic.payload()) {
            std::process::exit(NOBODY_READS);
        }
        usual(panic);
    }));
}

fn is_closed_pipe(said: &(dyn Any + Send)) -> bool {
    let said = said.downcast_ref::<String>();
    said.is_some_and(|said| said.starts_with("failed printing to std") && said.contains("Broken pipe"))
}
