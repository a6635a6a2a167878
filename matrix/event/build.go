package event

import (
	"crypto/sha256"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

// Proto is what an event is built from.
type Proto struct {
	Type           string
	StateKey       *string
	Sender         string
	RoomID         string // empty for the create event of room version 12
	Content        []byte // a JSON object
	PrevEvents     []string
	AuthEvents     []string
	Depth          int64
	OriginServerTS int64  // ms since 1970
	Redacts        string // put where the room version wants it
	StickyMS       int64  // for how long the event sticks (MSC4354); 0: not at all
	// EventIDRandom is the localpart of the event's id in room versions 1 and 2; unused later.
	EventIDRandom string
}

// otherBytes is about what an event has besides its content.
const otherBytes = 1024

// Build makes an event, hashes and signs it. Errors are *mxerr.Error: 413 M_TOO_LARGE, 400 M_BAD_JSON.
func Build(p Proto, v *roomversion.Version, server string, key signing.Key) (*Event, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	content, err := canonicaljson.Canonicalize(nil, p.Content, canonicaljson.Options{Strict: v.StrictCanonicalJSON})
	if err != nil {
		return nil, mxerr.BadJSON("the content is not canonical JSON of room version %s: %v", v.ID, err)
	}
	if content[0] != '{' {
		return nil, mxerr.BadJSON("the content must be a JSON object")
	}
	if p.Redacts != "" && v.RedactsInContent {
		content = parse(content).with("redacts", quoted(p.Redacts)).bytes(nil)
	}
	fs := p.fields(v, server, content)
	buf := make([]byte, 0, len(content)+otherBytes) // of all forms, one after the other
	hash := sha256.Sum256(fs.bytes(buf))
	fs = fs.with("hashes", fields{{"sha256", quoted(signing.EncodeBase64(hash[:]))}}.bytes(nil))
	signed := fs.redact(v, p.Type).bytes(buf)
	signature := fields{{key.ID, quoted(signing.Sign(signed, key))}}.bytes(nil)
	eventID := fs.text("event_id")
	if v.EventIDFormat != roomversion.EventIDField {
		eventID = idOf(signed, v)
	}
	fs = fs.with("signatures", fields{{server, signature}}.bytes(nil))
	raw := fs.bytes(buf)
	if len(raw) > MaxSize {
		return nil, tooLarge(len(raw))
	}
	return FromStored(raw, eventID, v)
}

func (p *Proto) check() error {
	if p.Type == "" {
		return mxerr.BadJSON("an event needs a type")
	}
	for _, s := range []struct{ name, value string }{{"type", p.Type}, {"sender", p.Sender}, {"room_id", p.RoomID}, {"redacts", p.Redacts}} {
		if len(s.value) > MaxKey {
			return mxerr.TooLarge("the event's %s has %d bytes; at most %d are allowed", s.name, len(s.value), MaxKey)
		}
	}
	if p.StateKey != nil && len(*p.StateKey) > MaxKey {
		return mxerr.TooLarge("the event's state_key has %d bytes; at most %d are allowed", len(*p.StateKey), MaxKey)
	}
	if len(p.Content) == 0 {
		return mxerr.BadJSON("an event needs a content")
	}
	return nil
}

// fields lists the event's members in order, without hashes and signatures.
func (p *Proto) fields(v *roomversion.Version, server string, content []byte) fields {
	fs := make(fields, 0, 15)
	fs = append(fs, field{"auth_events", citations(p.AuthEvents, v)}, field{"content", content}, field{"depth", integer(min(p.Depth, MaxDepth(v)))})
	if v.EventIDFormat == roomversion.EventIDField {
		fs = append(fs, field{"event_id", quoted("$" + p.EventIDRandom + ":" + server)})
	}
	if p.StickyMS != 0 {
		fs = append(fs, field{StickyKey, fields{{"duration_ms", integer(p.StickyMS)}}.bytes(nil)})
	}
	if !v.UpdatedRedaction {
		fs = append(fs, field{"origin", quoted(server)})
	}
	fs = append(fs, field{"origin_server_ts", integer(p.OriginServerTS)}, field{"prev_events", citations(p.PrevEvents, v)})
	if p.Redacts != "" && !v.RedactsInContent {
		fs = append(fs, field{"redacts", quoted(p.Redacts)})
	}
	if p.RoomID != "" {
		fs = append(fs, field{"room_id", quoted(p.RoomID)})
	}
	fs = append(fs, field{"sender", quoted(p.Sender)})
	if p.StateKey != nil {
		fs = append(fs, field{"state_key", quoted(*p.StateKey)})
	}
	return append(fs, field{"type", quoted(p.Type)})
}

// citations writes prev_events or auth_events. Room versions 1 and 2 want pairs of an id and hashes; nobody checks
// the hashes, so they are left empty.
func citations(ids []string, v *roomversion.Version) []byte {
	b := []byte{'['}
	for i, eventID := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		if v.EventIDFormat == roomversion.EventIDField {
			b = append(b, '[')
		}
		b = canonicaljson.AppendString(b, eventID)
		if v.EventIDFormat == roomversion.EventIDField {
			b = append(b, ",{}]"...)
		}
	}
	return append(b, ']')
}
