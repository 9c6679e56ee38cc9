//! Writing JSON text, as fast as copying it: `extra` is one JSON object a row, and most of a wide report's bytes.

/// Appends a JSON string, without the NULs that the text may hold.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    if text.bytes().any(needs_escape) {
        push_escaped(out, text);
    } else {
        out.push_str(text);
    }
    out.push('"');
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // It says nothing, and there are databases that take no text with it.
            '\0' => {}
            c if c < ' ' => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(DIGITS[c as usize >> 4].into());
                out.push(DIGITS[c as usize & 15].into());
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_is_read_back() {
        for text in ["", "plain", "\"quoted\" \\ back", "line\nand\ttab\u{1}\0", "香港 ✓"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).expect("valid JSON"), text.replace('\0', ""));
        }
    }
}
