//! Which flow a datagram belongs to.

use std::{hash::BuildHasher as _, net::SocketAddr};

use super::Tracer;
use crate::{
    trace::{flow::Flow, mark::Seen, recognition::begins_a_dialogue},
    wire::iax2::PORT,
};

impl Tracer {
    /// The flow of a datagram and the end it comes from; `None` for what is no IAX2.
    #[inline]
    pub(super) fn flow(&mut self, seen: &Seen<'_>) -> Option<(u32, usize)> {
        let (source, destination) = (seen.source, seen.destination);
        if let Some((from, to, flow, end)) = self.recent
            && from == source
            && to == destination
        {
            return Some((flow, end));
        }
        let found = match self.find_flow(source, destination) {
            Ok(found) => found,
            Err(place) => self.new_flow(place, seen)?,
        };
        self.recent = Some((source, destination, found.0, found.1));
        Some(found)
    }

    /// The flow between two addresses, and which end the source is; else where it belongs. The hash is the same
    /// either way, so that one entry serves both.
    pub(super) fn find_flow(
        &self,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<(u32, usize), u64> {
        let pair = if source <= destination {
            (source, destination)
        } else {
            (destination, source)
        };
        let mut place = self.keyed.hash_one(pair);
        while let Some(flow) = self.flows.get(&place) {
            match self.traced.flows.get(*flow as usize).map(Flow::ends) {
                Some(ends) if ends == [source, destination] => return Ok((*flow, 0)),
                Some(ends) if ends == [destination, source] => return Ok((*flow, 1)),
                _ => place = place.wrapping_add(1),
            }
        }
        Err(place)
    }

    fn new_flow(&mut self, place: u64, seen: &Seen<'_>) -> Option<(u32, usize)> {
        let ports = [seen.source.port(), seen.destination.port()];
        let known = if self.settings.ports.is_empty() {
            ports.contains(&PORT) || begins_a_dialogue(seen.payload)
        } else {
            ports.iter().any(|port| self.settings.ports.contains(port))
        };
        if !known {
            return None;
        }
        if self.traced.flows.len() >= self.settings.limits.flows {
            self.traced.counts.beyond += 1;
            return None;
        }
        let flow = u32::try_from(self.traced.flows.len()).ok()?;
        let (source, destination) = (seen.source, seen.destination);
        self.traced
            .flows
            .push(Flow::new(source, destination, seen.mark));
        self.flows.insert(place, flow);
        Some((flow, 0))
    }
}
