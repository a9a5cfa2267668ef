//! A path without faults: no burst is called anything else.

use crate::placed::{LINUX, Placed, side_by_side, site};

#[test]
#[ignore = "needs root, ip, nft and the Asterisk that tests/all fetches"]
fn twenty_bursts_of_twenty_have_no_pattern() {
    for _ in 0..4 {
        let bursts = side_by_side(5, |_| {
            let (site, _provider) = site(LINUX);
            Placed::on(
                &site,
                "600",
                "--calls 10 --concurrent 5 --duration 1s --expect echo",
            )
        });
        for burst in &bursts {
            burst.assert_healthy(10);
            let media = burst.media();
            println!("{media}");
            assert_eq!(media["one_way"], false, "{media:#}");
        }
    }
}
