//! How long the kernel has to keep a mapping so that it outlasts the time between two registrations.

use super::{Change, Plan, Wish};
use crate::{
    check::remedies::timer_for, probe::router::Router, proto::registration::reregister_after,
};

/// The kernel's timer for a UDP mapping without a lasting stream, in seconds (`nf_conntrack_proto_udp.c`).
const DEFAULT_S: u64 = 30;

/// The same for a stream, which a mapping becomes when it is used for longer than 2 s.
const STREAM_DEFAULT_S: u64 = 120;

/// The settings.
const KEY: &str = "net.netfilter.nf_conntrack_udp_timeout";
const STREAM_KEY: &str = "net.netfilter.nf_conntrack_udp_timeout_stream";

/// The value for a refresh, in seconds.
pub(super) fn needed(wish: &Wish) -> Option<u64> {
    let refresh = wish.refresh?;
    Some(timer_for(reregister_after(refresh)).as_secs())
}

pub(super) fn add(plan: &mut Plan, router: &Router, wish: &Wish) {
    let Some(needed) = needed(wish) else {
        plan.notes.push(
            "no timers are set, because the refresh is not known; give it with --refresh".into(),
        );
        return;
    };
    if let Some(now) = router.udp_timeout_s.filter(|now| *now >= needed) {
        plan.notes
            .push(format!("the UDP timer of {now} s outlasts the refresh"));
        return;
    }
    let before = router.udp_timeout_s.unwrap_or(DEFAULT_S);
    let (mut command, mut undo) = (
        format!("sysctl -q -w {KEY}={needed}"),
        format!("sysctl -q -w {KEY}={before}"),
    );
    if needed > STREAM_DEFAULT_S {
        command = format!("{command} {STREAM_KEY}={needed}");
        undo = format!("{undo} {STREAM_KEY}={STREAM_DEFAULT_S}");
    }
    plan.changes.push(Change {
        title: format!("the kernel keeps a UDP mapping for {needed} s"),
        command,
        undo,
        still: None,
        still_done: None,
        prevents: vec![],
        why: format!(
            "A registration is over in less than 2 s and leaves a mapping that Linux keeps for \
             {before} s; with this refresh the next one comes after {} s, and calls in the time \
             between are lost.",
            wish.refresh
                .map_or(0, |refresh| reregister_after(refresh).as_secs())
        ),
    });
}

/// The command that sets what the kernel begins with, where a refresh says that timers were set.
pub(super) fn back_to_default(wish: &Wish) -> Option<String> {
    let needed = needed(wish)?;
    let stream = if needed > STREAM_DEFAULT_S {
        format!(" {STREAM_KEY}={STREAM_DEFAULT_S}")
    } else {
        String::new()
    };
    Some(format!("sysctl -q -w {KEY}={DEFAULT_S}{stream}"))
}

/// The lines of sysctl.conf(5).
pub(super) fn lines(wish: &Wish) -> Option<String> {
    let needed = needed(wish)?;
    let mut lines = format!("{KEY} = {needed}\n");
    if needed > STREAM_DEFAULT_S {
        lines = format!("{lines}{STREAM_KEY} = {needed}\n");
    }
    Some(lines)
}
