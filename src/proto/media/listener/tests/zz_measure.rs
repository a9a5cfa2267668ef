//! temporary
use super::*;
use std::hint::black_box;
#[test]
fn measure() {
    let t=Instant::now(); let mut x=0i64;
    for n in 0..200_000u64 { x+=i64::from(SIGNAL.block(n)[7]); }
    println!("block {:?}", t.elapsed()/200_000); black_box(x);
    let payloads:Vec<_>=(0..5000).map(|n| sent_in(Law::Mu,n)).collect();
    let t=Instant::now();
    for n in 0..5000u64 { black_box(octets(Law::Mu,&SIGNAL.block(n))); }
    println!("block+encode {:?}", t.elapsed()/5000);
    let mut call=Call::new();
    let t=Instant::now();
    for (n,p) in payloads.iter().enumerate() { let at=call.start+millis(20*n as u64); call.listener.note_sent(n as u64,p,at); }
    println!("note_sent {:?}", t.elapsed()/5000);
    for (name,gain,law) in [("exact",1.0,Law::Mu),("transcoded",0.5,Law::A)] {
        let echo:Vec<Vec<u8>>= payloads.iter().map(|p| octets(law,&p.iter().map(|o| (f64::from(Law::Mu.decode(*o))*gain) as i16).collect::<Vec<_>>())).collect();
        let mut call=Call::new(); let mut spent=Duration::ZERO;
        for n in 0..5000usize { let at=call.start+millis(20*n as u64); call.listener.note_sent(n as u64,&payloads[n],at);
            if n>=5 { let t=Instant::now(); call.hear(&echo[n-5],law,20*n as u64,millis(20*n as u64)); spent+=t.elapsed(); } }
        println!("handle {name} {:?} {:?}", spent/4995, call.listener.evidence().returned.round_trip);
    }
    let mut call=Call::new(); let mut spent=Duration::ZERO; let mut worst=Duration::ZERO;
    for n in 0..5000usize { let at=call.start+millis(20*n as u64); call.listener.note_sent(n as u64,&payloads[n],at);
        let f=noise(n as u64); let t=Instant::now(); call.hear(&f,Law::Mu,20*n as u64,millis(20*n as u64)); let e=t.elapsed(); spent+=e; worst=worst.max(e); }
    println!("handle foreign {:?} worst {:?}", spent/5000, worst);
    println!("size {} heap ~{}", size_of::<Listener>(), 160*56+3200+2*2432+500*8+256*4+16*32);
    let t=Instant::now(); for _ in 0..1000 { black_box(call.listener.evidence()); } println!("evidence {:?}", t.elapsed()/1000);
}
