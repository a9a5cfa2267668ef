//! The cause codes of CAUSECODE (RFC 5456 §8.6.33; ITU-T Q.850).

use super::open_enum::open_enum;

open_enum! {
    /// Why a call ended or was refused (ITU-T Q.850 §2.2.5).
    pub enum Cause(u8) {
        /// Nobody has this number.
        Unallocated = 1 => "unallocated number",
        /// No route to the transit network.
        NoRouteTransit = 2 => "no route to network",
        /// No route to the destination.
        NoRouteDestination = 3 => "no route to destination",
        /// The trunk prefix was misdialled.
        MisdialledPrefix = 5 => "misdialled trunk prefix",
        /// The channel is not acceptable.
        ChannelUnacceptable = 6 => "channel unacceptable",
        /// The call was awarded and is being delivered.
        CallAwarded = 7 => "call awarded",
        /// The call was pre-empted.
        PreEmpted = 8 => "pre-empted",
        /// The number was ported.
        NumberPorted = 14 => "number ported",
        /// The caller or the called hung up.
        Normal = 16 => "normal clearing",
        /// The called telephone is busy.
        Busy = 17 => "user busy",
        /// The called telephone did not respond.
        NoUserResponse = 18 => "no user responding",
        /// Nobody answered.
        NoAnswer = 19 => "no answer",
        /// The subscriber is absent.
        Absent = 20 => "subscriber absent",
        /// The call was refused.
        Rejected = 21 => "call rejected",
        /// The number changed.
        NumberChanged = 22 => "number changed",
        /// Redirected to a new destination.
        Redirected = 23 => "redirected",
        /// Somebody else answered.
        AnsweredElsewhere = 26 => "answered elsewhere",
        /// The destination is out of order.
        OutOfOrder = 27 => "destination out of order",
        /// The number's format is not valid.
        BadNumberFormat = 28 => "invalid number format",
        /// A facility was refused; Asterisk's registrar gives it for every refusal.
        FacilityRejected = 29 => "facility rejected",
        /// Answer to a status enquiry.
        StatusResponse = 30 => "response to status enquiry",
        /// Normal, without detail.
        NormalUnspecified = 31 => "normal, unspecified",
        /// No circuit is available.
        NoCircuit = 34 => "no circuit available",
        /// The network is out of order.
        NetworkOutOfOrder = 38 => "network out of order",
        /// A temporary failure.
        TemporaryFailure = 41 => "temporary failure",
        /// The switching equipment is congested.
        SwitchCongestion = 42 => "switch congestion",
        /// Access information was discarded.
        InfoDiscarded = 43 => "access information discarded",
        /// The requested channel is not available.
        ChannelUnavailable = 44 => "requested channel unavailable",
        /// Pre-empted.
        Preempted = 45 => "pre-empted by priority",
        /// No resource is available.
        ResourceUnavailable = 47 => "resource unavailable",
        /// The facility is not subscribed; Asterisk gives it for refused authentication.
        FacilityNotSubscribed = 50 => "facility not subscribed",
        /// Outgoing calls are barred.
        OutgoingBarred = 52 => "outgoing calls barred",
        /// Incoming calls are barred.
        IncomingBarred = 54 => "incoming calls barred",
        /// The bearer capability is not authorised.
        NotAuthorised = 57 => "bearer capability not authorised",
        /// The bearer capability is not available; Asterisk gives it when no codec fits.
        BearerUnavailable = 58 => "bearer capability not available",
        /// The service or option is not available.
        ServiceUnavailable = 63 => "service unavailable",
        /// The bearer capability is not implemented.
        BearerNotImplemented = 65 => "bearer capability not implemented",
        /// The channel type is not implemented.
        ChannelTypeNotImplemented = 66 => "channel type not implemented",
        /// The facility is not implemented.
        FacilityNotImplemented = 69 => "facility not implemented",
        /// Only restricted digital information is available.
        RestrictedDigitalOnly = 70 => "restricted digital information only",
        /// The service or option is not implemented.
        ServiceNotImplemented = 79 => "service not implemented",
        /// The call reference is not valid.
        InvalidCallReference = 81 => "invalid call reference",
        /// The bearer is incompatible.
        Incompatible = 88 => "incompatible destination",
        /// The message is not valid.
        InvalidMessage = 95 => "invalid message",
        /// A mandatory information element is missing.
        MandatoryIeMissing = 96 => "mandatory element missing",
        /// The message type does not exist.
        MessageTypeNonexistent = 97 => "message type nonexistent",
        /// The message does not fit the state.
        WrongMessage = 98 => "message not compatible with state",
        /// The information element does not exist.
        IeNonexistent = 99 => "information element nonexistent",
        /// The content of an information element is not valid.
        InvalidIeContents = 100 => "invalid element contents",
        /// The call is in the wrong state.
        WrongCallState = 101 => "wrong call state",
        /// A timer ran out.
        TimerExpired = 102 => "recovery on timer expiry",
        /// A mandatory information element has a wrong length.
        MandatoryIeLength = 103 => "mandatory element length",
        /// A protocol error.
        ProtocolError = 111 => "protocol error",
        /// An error in interworking.
        Interworking = 127 => "interworking",
    }
}
