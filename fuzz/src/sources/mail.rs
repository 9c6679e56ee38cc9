//! A mail: its attachments, its text, the addresses in it.

#[path = "../../../crates/pipeline/src/sources/mail/parts.rs"]
#[expect(dead_code, reason = "what the flow asks for, the targets do not")]
mod parts;
#[path = "../../../crates/pipeline/src/sources/mail/transfer.rs"]
mod transfer;

use regex::Regex;

use parts::{Attachments, Caps, Content, Envelope, Wanted, safe_name, take};

pub(crate) fn fuzz(mail: &[u8]) {
    let caps = Caps { parts: 50, depth: 8, header_bytes: 16 << 10, links: 20 };
    let all = Regex::new("").expect("a pattern");
    let wanted = Wanted { attachments: Some(Attachments::All), links: Some(all.clone()), body: true, caps };
    if let Ok(taken) = take(mail, &wanted) {
        assert!(taken.links.len() <= caps.links && taken.parts.len() <= caps.parts + 1);
        for part in &taken.parts {
            assert!(!part.name.is_empty() && !part.name.contains(['/', '\\', '\n', '\0']), "{:?}", part.name);
            // A name that is safe is not made safer.
            assert_eq!(safe_name(&part.name), part.name);
            let Content::Bytes(bytes) = &part.content else { continue };
            // Windows-1252 and its like may grow as text.
            assert!(bytes.len() <= 4 * mail.len() + 64, "{} bytes of {}", bytes.len(), mail.len());
        }
        // Who asks for all gets what who asks for some gets.
        let named = Wanted { attachments: Some(Attachments::Named(all)), links: None, body: false, caps };
        let named = take(mail, &named).expect("it could be read before");
        assert!(named.parts.len() <= caps.parts);
    }
    if let Ok(envelope) = Envelope::read(mail, caps) {
        assert!(envelope.from.iter().map(String::len).sum::<usize>() <= 4 * mail.len() + 64);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const MAILS: &[&str] = &[
        "From: A Clerk <clerk@example.org>\r\nSubject: =?utf-8?B?44Os44Od44O844OI?=\r\nDate: Sun, 01 Mar 2026 10:00:00 +0000\r\n\
         Received: from a.example by b.example; Sun, 01 Mar 2026 10:00:01 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\nno part\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\nsee https://a.example/x?y=3D1 =E9=\r\n.\r\n--b\r\n\
         Content-Type: text/csv; name=\"r.csv\"\r\nContent-Disposition: attachment; filename*=utf-8''%e2%82%ac.csv\r\n\
         Content-Transfer-Encoding: base64\r\n\r\naXAKMTkyLjAuMi4xCg==\r\n--b--\r\n",
        "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: inner\n\nhi\n--x\nContent-Type: message/rfc822\n\n\
         Content-Type: multipart/related; boundary=\"y\"\n\n--y\nContent-Type: text/html\n\n<a href=\"http://b.example/?a=1&amp;b=2\">b</a>\n--y\n\
         Content-Type: image/png\nContent-ID: <1>\n\nxx\n--y--\n--x--\n",
        "Content-Type: multipart/report; report-type=feedback-report; boundary=r\n\n--r\n\nspam\n--r\n\
         Content-Type: message/feedback-report\n\nSource-IP: 192.0.2.1\n--r\nContent-Type: message/rfc822\n\nSubject: buy\n\nnow\n--r--\n",
        "Subject: plain\n\nhxxp://a[.]example\n",
    ];
    MAILS.iter().map(|mail| mail.as_bytes().to_vec()).collect()
}
