package pushrules

import (
	"bytes"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// quoted writes a JSON string; invalid UTF-8 becomes U+FFFD.
func quoted(s string) string {
	b, _ := jsontext.AppendQuote(nil, s) // the error tells of replaced bytes only
	return string(b)
}

// unquoted reads a JSON string, "" when it is none.
func unquoted(raw []byte) string {
	if text, ok := plain(raw); ok {
		return string(text)
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return ""
	}
	return string(b)
}

// plain gives the inside of a JSON string that has no escapes, without copying.
func plain(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return nil, false
	}
	inside := raw[1 : len(raw)-1]
	return inside, bytes.IndexByte(inside, '\\') < 0
}

// textOf reads a JSON string for as long as raw does not change: without escapes it shares raw's memory.
// ok is false when raw is no string.
func textOf(raw []byte) (text string, ok bool) {
	inside, ok := plain(raw)
	if !ok {
		b, err := jsontext.AppendUnquote(nil, raw)
		return string(b), err == nil
	}
	return unsafe.String(unsafe.SliceData(inside), len(inside)), true
}

// textEquals compares a JSON string with text.
func textEquals(raw []byte, text string) bool {
	s, ok := textOf(raw)
	return ok && s == text
}
