//! RDCleanPath as the browser speaks it: one request, one answer, and then RDP without TLS.
//!
//! The browser names a destination and shows a token; both are ignored: the ticket of its socket said which
//! connection it is, and the server is in there already. The answer holds nothing of the target: a certificate of
//! nobody stands where its certificate would, because that may name the host.

use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::{
    nego::{ConnectionConfirm, ConnectionRequest, ResponseFlags, SecurityProtocol},
    x224::X224,
};
use ironrdp_rdcleanpath::{DetectionResult, RDCleanPath, RDCleanPathPdu};

/// Requests are a few hundred bytes.
const LONGEST: usize = 16 * 1024;

/// Ed25519, `CN=sojourn`, signed by nobody. Made once; its key was thrown away.
const NOBODY: &[u8] = include_bytes!("nobody.der");

/// It is no request, or one that cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotCleanPath;

/// A request was whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub answer: Vec<u8>,
    /// What came behind it.
    pub rest: Vec<u8>,
}

/// The browser's request as it comes.
#[derive(Debug, Default)]
pub struct Request(Vec<u8>);

impl Request {
    /// Takes what came; `Some` with the whole request.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Answered>, NotCleanPath> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(NotCleanPath);
        }
        self.0.extend_from_slice(bytes);
        // A sequence, and nothing else: one that never gets whole is not waited for.
        if self.0.first().is_some_and(|first| *first != 0x30) {
            return Err(NotCleanPath);
        }
        let length = match RDCleanPathPdu::detect(&self.0) {
            DetectionResult::Detected { total_length, .. } if total_length <= LONGEST => total_length,
            DetectionResult::NotEnoughBytes => return Ok(None),
            DetectionResult::Detected { .. } | DetectionResult::Failed => return Err(NotCleanPath),
        };
        if self.0.len() < length {
            return Ok(None);
        }
        let rest = self.0.split_off(length);
        Ok(Some(Answered { answer: answer(&self.0)?, rest }))
    }
}

fn answer(request: &[u8]) -> Result<Vec<u8>, NotCleanPath> {
    let request = RDCleanPathPdu::from_der(request).map_err(|_| NotCleanPath)?;
    let request = request.into_enum().map_err(|_| NotCleanPath)?;
    let RDCleanPath::Request { x224_connection_request, .. } = request else { return Err(NotCleanPath) };
    let wanted = decode::<X224<ConnectionRequest>>(x224_connection_request.as_bytes())
        .map_err(|_| NotCleanPath)?
        .0
        .protocol;
    // The login was ours; what is left for the browser is TLS, which the relay did for it.
    if !wanted.contains(SecurityProtocol::SSL) {
        return Err(NotCleanPath);
    }
    let confirm = ConnectionConfirm::Response {
        flags: ResponseFlags::EXTENDED_CLIENT_DATA_SUPPORTED,
        protocol: SecurityProtocol::SSL,
    };
    let confirm = encode_vec(&X224(confirm)).map_err(|_| NotCleanPath)?;
    RDCleanPathPdu::new_response(String::new(), confirm, [NOBODY.to_vec()])
        .and_then(|answer| answer.to_der())
        .map_err(|_| NotCleanPath)
}

#[cfg(test)]
mod tests {
    use ironrdp_pdu::nego::RequestFlags;

    use super::*;

    fn request(protocol: SecurityProtocol) -> Vec<u8> {
        let wanted = ConnectionRequest {
            nego_data: None,
            flags: RequestFlags::empty(),
            protocol,
            correlation_info: None,
        };
        let x224 = encode_vec(&X224(wanted)).unwrap();
        let pdu = RDCleanPathPdu::new_request(x224, "elsewhere:22".into(), "a token".into(), None).unwrap();
        pdu.to_der().unwrap()
    }

    #[test]
    fn a_request_is_answered_however_it_is_cut() {
        let whole = [request(SecurityProtocol::SSL), b"more".to_vec()].concat();
        for piece in [1, 3, 20, 5000] {
            let mut request = Request::default();
            let mut done = None;
            let mut behind = Vec::new();
            for piece in whole.chunks(piece) {
                match &done {
                    None => {
                        if let Some(Answered { answer, rest }) = request.take(piece).unwrap() {
                            done = Some(answer);
                            behind = rest;
                        }
                    }
                    Some(_) => behind.extend_from_slice(piece),
                }
            }
            assert_eq!(behind, b"more");
            let answer = RDCleanPathPdu::from_der(&done.unwrap()).unwrap().into_enum().unwrap();
            let RDCleanPath::Response { x224_connection_response, server_cert_chain, server_addr } = answer
            else {
                panic!("a response")
            };
            assert_eq!(server_addr, "");
            assert_eq!(server_cert_chain.len(), 1);
            let certificate =
                <x509_cert::Certificate as x509_cert::der::Decode>::from_der(server_cert_chain[0].as_bytes());
            assert!(certificate.is_ok(), "{certificate:?}");
            let confirm = decode::<X224<ConnectionConfirm>>(x224_connection_response.as_bytes()).unwrap().0;
            let ConnectionConfirm::Response { protocol, .. } = confirm else { panic!("a response") };
            assert_eq!(protocol, SecurityProtocol::SSL);
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let login = request(SecurityProtocol::HYBRID);
        assert_eq!(Request::default().take(&login), Err(NotCleanPath), "the login is ours");
        assert_eq!(Request::default().take(b"GET / HTTP/1.1"), Err(NotCleanPath));
        assert_eq!(Request::default().take(&vec![0x30; LONGEST + 1]), Err(NotCleanPath));
        let long = [0x30, 0x83, 0xff, 0xff, 0xff, 0xa0, 4, 2, 2, 0xd, 0x3e];
        assert_eq!(Request::default().take(&long), Err(NotCleanPath));
        let answer = RDCleanPathPdu::new_response(String::new(), vec![1], [vec![1]]).unwrap();
        assert_eq!(Request::default().take(&answer.to_der().unwrap()), Err(NotCleanPath));
    }
}
