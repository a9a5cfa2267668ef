//! Programs for the kernel's packet filter, written with labels instead of distances.

use std::collections::BTreeMap;

use socket2::SockFilter;

// Instructions of the kernel's packet filter (linux/filter.h, linux/bpf_common.h).
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const LOAD_HALF: u16 = 0x28;
pub(super) const LOAD_BYTE: u16 = 0x30;
pub(super) const LOAD_HALF_INDEXED: u16 = 0x48;
pub(super) const INDEX_IP_HEADER: u16 = 0xb1;
pub(super) const AND: u16 = 0x54;
pub(super) const SHIFT_RIGHT: u16 = 0x74;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_SET: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;
/// Where the kernel keeps the type of the packet for filters (`SKF_AD_OFF` + `SKF_AD_PKTTYPE`).
pub(super) const PACKET_TYPE: u32 = 0xffff_f000 + 4;

/// Where it keeps the number of the interface (`SKF_AD_OFF` + `SKF_AD_IFINDEX`).
pub(super) const INTERFACE: u32 = 0xffff_f000 + 8;
/// The label of the step that follows.
pub(super) const NEXT: &str = "";

/// A step of the filter; jumps go to a label.
pub(super) enum Step {
    Do(u16, u32),
    If(u16, u32, &'static str, &'static str),
    At(&'static str),
}

/// The program of these steps.
pub(super) fn assembled(steps: &[Step]) -> Vec<SockFilter> {
    let mut labels = BTreeMap::new();
    let mut length = 0_usize;
    for step in steps {
        match step {
            Step::At(label) => {
                labels.insert(*label, length);
            }
            Step::Do(..) | Step::If(..) => length += 1,
        }
    }
    // A label that is missing or too far would be a mistake above; it drops the packet then.
    let jump = |from: usize, label: &str| {
        if label == NEXT {
            return 0;
        }
        let to = labels.get(label).copied().unwrap_or(length - 1);
        u8::try_from(to.saturating_sub(from + 1)).unwrap_or(u8::MAX)
    };
    let mut program = Vec::with_capacity(length);
    for step in steps {
        let at = program.len();
        match step {
            Step::Do(code, value) => program.push(SockFilter::new(*code, 0, 0, *value)),
            Step::If(code, value, yes, no) => {
                program.push(SockFilter::new(*code, jump(at, yes), jump(at, no), *value));
            }
            Step::At(_) => {}
        }
    }
    program
}
