//! What all experiments of a survey found, put together.

use super::{Record, Stage, Survey, sweep::Sweep};
use crate::probe::{
    busy,
    calls::Calls,
    evidence::{Evidence, MappingEvidence, MappingObservation, MappingSource},
    refresh::Refresh,
};

impl Survey {
    /// What was found so far.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let call_token = self
            .record
            .as_ref()
            .and_then(|record| record.evidence().call_token);
        let mut reach = self.reach.as_ref().map(|reach| reach.evidence().clone());
        if let Some(reach) = &mut reach {
            reach.call_token_required = call_token;
            reach.reflector = self
                .mapping
                .as_ref()
                .and_then(|mapping| mapping.is_reflector(self.config.provider));
        }
        let mut reflector = self
            .reflector_reach
            .as_ref()
            .map(|reach| reach.evidence().clone());
        if let Some(evidence) = &mut reflector {
            evidence.reflector = self
                .config
                .reflector
                .zip(self.mapping.as_ref())
                .and_then(|(peer, mapping)| mapping.is_reflector(peer));
        }
        let mut evidence = Evidence {
            reach,
            reflector,
            same_port: self
                .same_port
                .as_ref()
                .map(|reach| reach.evidence().clone()),
            registration: self.record.as_ref().map(|record| record.evidence().clone()),
            asterisk: None,
            mapping: self.mapping_evidence(),
            lifetime: self.lifetime.as_ref().and_then(Sweep::evidence),
            busy: self.busy.as_ref().and_then(busy::edge),
            refresh: self.refresh.as_ref().map(Refresh::evidence),
            hairpin: self.hairpin.as_ref().map(|hairpin| *hairpin.evidence()),
            calls: self.calls.as_ref().map(Calls::evidence),
            callback: self.callback.as_ref().map(|it| it.evidence().clone()),
            interrupted: self.stopped || self.stage != Stage::Over,
            ..Evidence::default()
        };
        self.beside.tell(&mut evidence);
        evidence
    }

    /// What was seen of the mapping of all sockets.
    fn mapping_evidence(&self) -> Option<MappingEvidence> {
        let mut evidence = self.mapping.as_ref()?.evidence().clone();
        let registration = self.record.as_ref().map(Record::evidence);
        if let Some(mapping) = &self.registered_mapping
            && let Some(registration) = registration
            && let Some(local) = registration.local
        {
            let apparent = registration.apparent.iter();
            let of_registrar = apparent.map(|(at, mapped)| MappingObservation {
                local,
                peer: self.config.provider,
                mapped: *mapped,
                at: *at,
                via: MappingSource::Registrar,
            });
            evidence.observations.extend(of_registrar);
            let own = mapping.evidence().observations.iter();
            evidence.observations.extend(own);
        }
        Some(evidence)
    }
}
