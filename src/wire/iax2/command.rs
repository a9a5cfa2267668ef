//! What a full frame is: its type, and the subclass of IAX and control frames.

use super::open_enum::open_enum;

open_enum! {
    /// The type of a full frame (RFC 5456 §8.2).
    pub enum FrameType(u8) {
        /// A DTMF digit ends (RFC 5456 knows no begin); the subclass is its ASCII character.
        DtmfEnd = 1 => "DTMF",
        /// Audio; the subclass is the compressed format.
        Voice = 2 => "VOICE",
        /// Video; the subclass is the compressed format and, as 0x40, the mark.
        Video = 3 => "VIDEO",
        /// Call progress; the subclass is a [`Control`].
        Control = 4 => "CONTROL",
        /// Never sent.
        Null = 5 => "NULL",
        /// Protocol control; the subclass is a [`Command`], the payload information elements.
        Iax = 6 => "IAX",
        /// UTF-8 text; Asterisk appends a NUL.
        Text = 7 => "TEXT",
        /// An image; the subclass is the compressed format.
        Image = 8 => "IMAGE",
        /// HTML; the subclass is an [`Html`].
        Html = 9 => "HTML",
        /// Comfort noise; the subclass is the level in −dBov.
        ComfortNoise = 10 => "CNG",
        /// Modem data, not in the RFC: 1 T.38, 2 V.150.
        Modem = 11 => "MODEM",
        /// A DTMF digit begins; Asterisk's, not in the RFC.
        DtmfBegin = 12 => "DTMF BEGIN",
    }
}

open_enum! {
    /// The subclass of an IAX frame (RFC 5456 §8.4, RFC 5457 §4).
    pub enum Command(u8) {
        /// Begin a call (RFC 5456 §6.2.2).
        New = 1 => "NEW",
        /// Measure the round trip inside a call (RFC 5456 §6.7.2).
        Ping = 2 => "PING",
        /// Answer to PING or POKE (RFC 5456 §6.7.3).
        Pong = 3 => "PONG",
        /// Explicit acknowledgement (RFC 5456 §6.9.1).
        Ack = 4 => "ACK",
        /// End a call (RFC 5456 §6.2.5).
        Hangup = 5 => "HANGUP",
        /// Refuse a call (RFC 5456 §6.2.4).
        Reject = 6 => "REJECT",
        /// Accept a call (RFC 5456 §6.2.3).
        Accept = 7 => "ACCEPT",
        /// Challenge a caller (RFC 5456 §6.2.6).
        AuthReq = 8 => "AUTHREQ",
        /// Answer to AUTHREQ (RFC 5456 §6.2.7).
        AuthRep = 9 => "AUTHREP",
        /// Your call does not exist here (RFC 5456 §6.9.2).
        Inval = 10 => "INVAL",
        /// Measure the lag through the media path (RFC 5456 §6.7.4).
        LagRq = 11 => "LAGRQ",
        /// Answer to LAGRQ (RFC 5456 §6.7.5).
        LagRp = 12 => "LAGRP",
        /// Register (RFC 5456 §6.1.2).
        RegReq = 13 => "REGREQ",
        /// Challenge a registrant (RFC 5456 §6.1.3).
        RegAuth = 14 => "REGAUTH",
        /// Registration granted (RFC 5456 §6.1.4).
        RegAck = 15 => "REGACK",
        /// Registration refused (RFC 5456 §6.1.5).
        RegRej = 16 => "REGREJ",
        /// Give a registration up (RFC 5456 §6.1.6).
        RegRel = 17 => "REGREL",
        /// Resend from this number on (RFC 5456 §6.9.3).
        Vnak = 18 => "VNAK",
        /// Ask whether a number exists (RFC 5456 §6.8.2).
        DpReq = 19 => "DPREQ",
        /// Answer to DPREQ (RFC 5456 §6.8.3).
        DpRep = 20 => "DPREP",
        /// Dial on a call that is waiting for digits (RFC 5456 §6.8.1).
        Dial = 21 => "DIAL",
        /// Ask for a transfer of the media path (RFC 5456 §6.5.2).
        TxReq = 22 => "TXREQ",
        /// Probe the path of a transfer (RFC 5456 §6.5.3).
        TxCnt = 23 => "TXCNT",
        /// Answer to TXCNT (RFC 5456 §6.5.4).
        TxAcc = 24 => "TXACC",
        /// The transferred path works (RFC 5456 §6.5.5).
        TxReady = 25 => "TXREADY",
        /// Release after a transfer (RFC 5456 §6.5.6).
        TxRel = 26 => "TXREL",
        /// Refuse a transfer (RFC 5456 §6.5.8).
        TxRej = 27 => "TXREJ",
        /// Stop sending media (RFC 5456 §6.3.3).
        Quelch = 28 => "QUELCH",
        /// Send media again (RFC 5456 §6.3.4).
        Unquelch = 29 => "UNQUELCH",
        /// Is anybody there, outside calls (RFC 5456 §6.7.1).
        Poke = 30 => "POKE",
        /// Reserved (RFC 5457 §4).
        Page = 31 => "PAGE",
        /// Message waiting (RFC 5456 §6.10).
        Mwi = 32 => "MWI",
        /// This command is not supported here (RFC 5456 §6.9.4).
        Unsupport = 33 => "UNSUPPORT",
        /// Blind transfer of a call (RFC 5456 §6.5.9).
        Transfer = 34 => "TRANSFER",
        /// Configure a device (RFC 5456 §6.11).
        Provision = 35 => "PROVISION",
        /// Ask for a firmware block (RFC 5456 §6.11.3).
        FwDownl = 36 => "FWDOWNL",
        /// A firmware block (RFC 5456 §6.11.3).
        FwData = 37 => "FWDATA",
        /// Transfer of the media alone (RFC 5456 §6.5.7).
        TxMedia = 38 => "TXMEDIA",
        /// A new encryption key; Asterisk's, not in the RFC.
        RtKey = 39 => "RTKEY",
        /// A token that proves the source address; Asterisk's since 2009, not in the RFC.
        CallToken = 40 => "CALLTOKEN",
    }
}

impl Command {
    /// Whether a frame with this command carries a sequence number without consuming it
    /// (RFC 5456 §7.1; the list deployed peers use).
    #[must_use]
    pub const fn is_unnumbered(self) -> bool {
        matches!(
            self,
            Self::Ack | Self::Inval | Self::Vnak | Self::TxCnt | Self::TxAcc
        )
    }
}

open_enum! {
    /// The subclass of a control frame (RFC 5456 §8.3; from 18 on, Asterisk's).
    pub enum Control(u8) {
        /// The call ended.
        Hangup = 1 => "hangup",
        /// Reserved.
        Ring = 2 => "ring",
        /// The far telephone rings.
        Ringing = 3 => "ringing",
        /// The call was answered.
        Answer = 4 => "answer",
        /// The far telephone is busy.
        Busy = 5 => "busy",
        /// Reserved (TKOFFHK).
        TakeOffHook = 6 => "take off hook",
        /// Reserved (OFFHOOK).
        OffHook = 7 => "off hook",
        /// The network is congested.
        Congestion = 8 => "congestion",
        /// Flash hook.
        Flash = 9 => "flash",
        /// Reserved.
        Wink = 10 => "wink",
        /// An option.
        Option = 11 => "option",
        /// Key the radio.
        KeyRadio = 12 => "key radio",
        /// Unkey the radio.
        UnkeyRadio = 13 => "unkey radio",
        /// Audio before the answer.
        Progress = 14 => "progress",
        /// The call is being set up.
        Proceeding = 15 => "proceeding",
        /// Put on hold.
        Hold = 16 => "hold",
        /// Taken back from hold.
        Unhold = 17 => "unhold",
        /// A new video picture is wanted.
        VideoUpdate = 18 => "video update",
        /// T.38, the old form.
        T38Old = 19 => "T.38",
        /// The source of the media changed its clock.
        SourceUpdate = 20 => "source update",
        /// A transfer.
        Transfer = 21 => "transfer",
        /// Who is connected changed.
        ConnectedLine = 22 => "connected line",
        /// The call was redirected.
        Redirecting = 23 => "redirecting",
        /// T.38 parameters.
        T38Parameters = 24 => "T.38 parameters",
        /// Call completion.
        CallCompletion = 25 => "call completion",
        /// The source of the media changed.
        SourceChange = 26 => "source change",
        /// Read action.
        ReadAction = 27 => "read action",
        /// Advice of charge.
        AdviceOfCharge = 28 => "advice of charge",
        /// End of the queue.
        EndOfQueue = 29 => "end of queue",
        /// More digits are needed.
        Incomplete = 30 => "incomplete",
        /// Malicious call identification.
        MaliciousCall = 31 => "malicious call",
        /// Update the RTP peer.
        UpdateRtpPeer = 32 => "update RTP peer",
        /// A cause code of the technology.
        PvtCauseCode = 33 => "cause code",
        /// Value −1: stop any tones. Asterisk sends it after ANSWER; it must be acknowledged.
        StopTones = 255 => "stop tones",
    }
}

open_enum! {
    /// The subclass of an HTML frame (RFC 5456 §8.5).
    pub enum Html(u8) {
        /// A URL follows.
        Url = 1 => "URL",
        /// Data follows.
        Data = 2 => "data",
        /// The first part of the data.
        Begin = 4 => "begin",
        /// The last part of the data.
        End = 8 => "end",
        /// The page was loaded.
        LoadComplete = 16 => "load complete",
        /// The peer cannot show HTML.
        NotSupported = 17 => "not supported",
        /// A link URL follows.
        LinkUrl = 18 => "link URL",
        /// Undo the link.
        Unlink = 19 => "unlink",
        /// The link was refused.
        LinkReject = 20 => "link rejected",
    }
}
