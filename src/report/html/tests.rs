//! Pages of saved reports: what they show, and that a stranger's words stay words.

use super::*;
use crate::report::{
    fixture,
    model::{RuleChange, calls::Callback},
};

#[test]
fn a_page_has_the_verdict_the_findings_and_the_pictures() {
    let page = render(&fixture("linux-defaults"));
    for words in [
        "<title>CRITICAL: Calls cannot reach this PBX for 20 s of every 50 s",
        "<code>sysctl -w net.netfilter.nf_conntrack_udp_timeout=65</code>",
        "Between two registrations",
        "How long an idle mapping survives",
        "after a stream, as a call: <strong>alive at 119 s, gone at 120 s</strong>",
        "Round trips and jitter",
        "<summary><code>mapping</code></summary>",
        "<td>198.51.100.7:59473</td>",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    // Whole: nothing is loaded from anywhere, and nothing runs.
    for word in [
        "<script", "http://", "https://", "src=", "href=", "url(", "@import",
    ] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn pictures_are_there_only_where_something_was_measured() {
    let page = render(&fixture("unreachable"));
    assert!(!page.contains("In pictures"), "{page}");
    assert!(!page.contains("<svg"), "{page}");
    let page = render(&fixture("critical"));
    for words in ["Who stands on the way", "192.168.1.1: <strong>keeps state"] {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

#[test]
fn the_words_of_strangers_stay_words() {
    const EVIL: &str = "</style><script>alert(1)</script>\"' onload=x <img src=y>";
    let mut report = fixture("linux-defaults");
    report.summary = Some(EVIL.into());
    report.command = EVIL.into();
    report.tool.name = EVIL.into();
    report.unknown.insert(EVIL.into(), EVIL.into());
    let provider = report.provider.as_mut().unwrap();
    provider.name = EVIL.into();
    provider.user = Some(EVIL.into());
    let found = report.findings.first_mut().unwrap();
    found.id = EVIL.into();
    found.title = EVIL.into();
    found.because = vec![EVIL.into()];
    found.do_this = vec![EVIL.into(), format!("{EVIL}: {EVIL}")];
    let measured = &mut report.measurements;
    measured.registration.as_mut().unwrap().cause = Some(EVIL.into());
    measured.lifetime.as_mut().unwrap().alike = vec![EVIL.into()];
    measured.callback = Some(Callback {
        extension: EVIL.into(),
        ..Callback::default()
    });
    let page = render(&report);
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("<img"), "{page}");
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.matches("&lt;script&gt;").count() > 10, "{page}");
}

#[test]
fn what_has_no_picture_and_what_is_not_known_is_shown_too() {
    let mut report = fixture("ok");
    let incidents = serde_json::json!([
        {"at": "2026-11-25T01:00:00Z", "what": "rebound", "took_s": 3.5},
        {"at": "2026-11-25T02:00:00Z", "what": "reload"}
    ]);
    report.unknown.insert("incidents".into(), incidents);
    let calls = serde_json::json!({"count": 3, "deep": [[[[[[[["end"]]]]]]]]});
    report
        .measurements
        .unknown
        .insert("calls_seen".into(), calls);
    report.rules = Some(vec![RuleChange::default()]);
    let page = render(&report);
    for words in [
        "<summary><code>rules</code></summary>",
        "<summary><code>incidents</code></summary>",
        "<th>took_s</th>",
        "<td>3.5</td>",
        "<summary><code>calls_seen</code></summary>",
        "<code>count</code>: 3",
        "end",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

/// WCAG 2: text is to stand out from what is behind it by 4.5 to 1.
#[test]
fn colours_have_contrast() {
    let schemes: Vec<&str> = STYLE.split(":root {").skip(1).collect();
    assert_eq!(schemes.len(), 3, "light, dark, paper");
    for scheme in schemes {
        let scheme = scheme.split('}').next().unwrap();
        let luminance = |name: &str| {
            let value = scheme.split(&format!("--{name}: #")).nth(1).unwrap();
            let channel = |at: usize| {
                let part = u8::from_str_radix(&value[at..at + 2], 16).unwrap();
                let part = f64::from(part) / 255.0;
                if part <= 0.04045 {
                    part / 12.92
                } else {
                    ((part + 0.055) / 1.055).powf(2.4)
                }
            };
            0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
        };
        let ratio = |a: &str, b: &str| {
            let (a, b) = (luminance(a), luminance(b));
            (a.max(b) + 0.05) / (a.min(b) + 0.05)
        };
        for text in ["ink", "soft", "ok", "warning", "critical", "unknown"] {
            for behind in ["paper", "card"] {
                assert!(ratio(text, behind) >= 4.5, "{text} on {behind}");
            }
        }
        for behind in ["ok", "warning", "critical", "unknown"] {
            assert!(ratio("on", behind) >= 4.5, "on {behind}");
        }
        // Pieces of pictures: 3 to 1.
        for piece in ["open", "shut", "maybe", "mark"] {
            assert!(ratio(piece, "card") >= 3.0, "{piece}");
        }
    }
}
