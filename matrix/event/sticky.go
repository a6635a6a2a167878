package event

import "bytes"

// StickyKey is where a sticky event says for how long it sticks, as it is spelt while MSC4354 is a proposal.
const StickyKey = "msc4354_sticky"

// MaxStickyMS is the longest that an event can stick, in ms.
const MaxStickyMS = int64(3_600_000)

var stickyMember = []byte(`"` + StickyKey + `":`)

// StickyMS tells for how many ms a PDU sticks: for so long it is told to everybody who comes into its room (MSC4354). It is 0 when it does not, as
// after a redaction.
func StickyMS(pdu []byte) int64 {
	if !bytes.Contains(pdu, stickyMember) { // almost always, and it is quick to see
		return 0
	}
	d, ok := parse(pdu).get(StickyKey)
	if !ok || len(d) == 0 || d[0] != '{' {
		return 0
	}
	raw, _ := parse(d).get("duration_ms")
	var ms int64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return 0
		}
		if ms = ms*10 + int64(c-'0'); ms > MaxStickyMS {
			return 0
		}
	}
	return ms
}

// StickyUntil is when a PDU that was received at that time ceases to stick, in ms since 1970; 0 when it does not stick.
func StickyUntil(pdu []byte, originServerTS, receivedTS int64) int64 {
	ms := StickyMS(pdu)
	if ms == 0 {
		return 0
	}
	return min(originServerTS, receivedTS) + ms
}
