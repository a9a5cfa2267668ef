//! One capture, or one look at the wire, from its first packet to its end.

use anyhow::Result;
use iax2_natcheck::{
    report::assemble,
    trace::{
        reading::Got,
        traced::{Belongs, Settings, Traced},
        tracer::Tracer,
    },
};

use super::frames;
use crate::cli::{
    args::{AnalyzeArgs, Common, Format},
    output,
};

/// Follows a capture and tells what was asked for on the way.
pub(super) struct Session {
    tracer: Tracer,
    frames: bool,
    follow: bool,
    json: bool,
    told: (usize, usize),
}

impl Session {
    pub(super) fn new(settings: Settings, args: &AnalyzeArgs, common: &Common) -> Self {
        Self {
            tracer: Tracer::new(settings),
            frames: args.frames,
            follow: args.follow,
            json: common.format() == Format::Json,
            told: (0, 0),
        }
    }

    /// Takes what a packet gives.
    #[inline]
    pub(super) fn take(&mut self, got: Got<'_>) -> Result<()> {
        match got {
            Got::Datagram(seen) => {
                let belongs = self.tracer.handle_input(&seen);
                if self.frames && belongs != Belongs::Nowhere {
                    output::print(&frames::line(&seen, belongs, self.json))?;
                }
                if self.follow {
                    self.tell()?;
                }
            }
            Got::Icmp(error, mark) => self.tracer.handle_icmp(&error, mark),
            Got::Nothing => {}
        }
        Ok(())
    }

    /// The end.
    pub(super) fn finish(self) -> Result<Traced> {
        let (told, json, follow) = (self.told, self.json, self.follow);
        let before: Vec<u32> = self
            .tracer
            .traced()
            .calls
            .iter()
            .take(told.1)
            .map(|call| call.id)
            .collect();
        let registered = told.0;
        let known: Vec<_> = self
            .tracer
            .traced()
            .registrations
            .iter()
            .take(registered)
            .map(|attempt| (attempt.first.file(), attempt.first.number()))
            .collect();
        let traced = self.tracer.finish();
        if follow {
            for attempt in &traced.registrations {
                if !known.contains(&(attempt.first.file(), attempt.first.number())) {
                    registration(&traced, attempt, json)?;
                }
            }
            for call in &traced.calls {
                if !before.contains(&call.id) {
                    self::call(&traced, call, json)?;
                }
            }
        }
        Ok(traced)
    }

    /// Tells of the registrations and calls that ended since.
    fn tell(&mut self) -> Result<()> {
        let traced = self.tracer.traced();
        let (registrations, calls) = (traced.registrations.len(), traced.calls.len());
        for attempt in traced.registrations.iter().skip(self.told.0) {
            registration(traced, attempt, self.json)?;
        }
        for of in traced.calls.iter().skip(self.told.1) {
            call(traced, of, self.json)?;
        }
        self.told = (registrations, calls);
        Ok(())
    }
}

fn registration(
    traced: &Traced,
    attempt: &iax2_natcheck::trace::registration::Attempt,
    json: bool,
) -> Result<()> {
    let begin = traced.span.map(|(first, _)| first);
    let seen = assemble::seen_registration(attempt, begin);
    if json {
        let line = serde_json::json!({ "registration": seen });
        return output::print(&format!("{line}\n"));
    }
    let words = iax2_natcheck::report::text::registration_line(&seen);
    output::print(&format!("registration {words}\n"))
}

fn call(traced: &Traced, of: &iax2_natcheck::trace::call::Call, json: bool) -> Result<()> {
    let begin = traced.span.map(|(first, _)| first);
    let Some(seen) = assemble::seen_call(traced, of, begin) else {
        return Ok(());
    };
    if json {
        let line = serde_json::json!({ "call": seen });
        return output::print(&format!("{line}\n"));
    }
    let words = iax2_natcheck::report::text::call_line(&seen);
    output::print(&format!("call {words}\n"))
}
