//! Progress on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar with what is done at the moment, or nothing where nobody looks. Clones draw one bar.
#[derive(Clone)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar that is drawn from the first [`Progress::set`] on, if at all.
    pub(crate) fn new(drawn: bool) -> Self {
        Self(drawn.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())))
    }

    /// Shows what is done, how long it has taken, and how long it takes where that is known.
    pub(crate) fn set(&self, message: &str, elapsed: Duration, total: Option<Duration>) {
        let Some(bar) = &self.0 else {
            return;
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        bar.set_style(style(total.is_some()));
        if let Some(total) = total {
            bar.set_length(millis(total));
            let left = total.saturating_sub(elapsed).as_secs();
            bar.set_prefix(format!("{} s, {left} s left", elapsed.as_secs()));
        } else {
            bar.unset_length();
            bar.set_prefix(format!("{} s", elapsed.as_secs()));
        }
        bar.set_position(millis(elapsed));
        bar.set_message(message.to_owned());
        bar.tick();
    }

    /// Does something while the bar is off the screen.
    pub(crate) fn aside<T>(&self, what: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(what),
            None => what(),
        }
    }

    /// Takes the bar off the screen for good.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The total is known.
const BAR: &str = "{bar:20} {prefix}  {wide_msg}";
/// It is not.
const SPINNER: &str = "{spinner} {prefix}  {wide_msg}";

fn style(known: bool) -> ProgressStyle {
    ProgressStyle::with_template(if known { BAR } else { SPINNER })
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
